// SPDX-License-Identifier: Apache-2.0
#include "bench/llama_server.h"

#include <signal.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <format>
#include <functional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>
#include <gtest/gtest.h>

#include "cml/test_vocabulary.h"
#include "fixtures/fake_engine.h"
#include "oracle/test_oracle.h"

namespace asynclm::bench {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;

// A server of one connection at a time. It answers with the tokens that `script` gives for a
// request, one event each, as llama-server words them; kNoToken: silence until the client is gone.
class ScriptedServer {
 public:
  using Script = std::function<std::vector<Token>(const Json& request)>;
  explicit ScriptedServer(Script script)
      : script_(std::move(script)),
        acceptor_(context_, tcp::endpoint(asio::ip::address_v4::loopback(), 0)),
        thread_([this] { serve(); }) {}
  ~ScriptedServer() {
    stopping_ = true;
    asio::io_context context;  // wakes accept()
    tcp::socket(context).connect(acceptor_.local_endpoint());
    thread_.join();
  }
  ScriptedServer(const ScriptedServer&) = delete;
  ScriptedServer& operator=(const ScriptedServer&) = delete;

  [[nodiscard]] std::uint16_t port() const { return acceptor_.local_endpoint().port(); }
  // Not while a client is served.
  [[nodiscard]] const std::vector<Json>& requests() const { return requests_; }

 private:
  void serve() {
    while (true) {
      tcp::socket socket(context_);
      acceptor_.accept(socket);
      if (stopping_) return;
      boost::beast::flat_buffer buffer;
      http::request<http::string_body> request;
      boost::system::error_code failed;
      http::read(socket, buffer, request, failed);
      if (!failed) answer(socket, Json::parse(request.body()));
    }
  }

  void answer(tcp::socket& socket, const Json& request) {
    requests_.push_back(request);
    boost::system::error_code failed;
    const auto say = [&](const std::string& text) {
      asio::write(socket, asio::buffer(text), failed);
    };
    say("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
        "Transfer-Encoding: chunked\r\n\r\n");
    const auto event = [&](const Json& json) {
      const std::string text = "data: " + json.dump() + "\n\n";
      say(std::format("{:x}\r\n{}\r\n", text.size(), text));
    };
    std::size_t count = 0;
    for (const Token token : script_(request)) {
      if (token == kNoToken) {
        char byte = 0;
        asio::read(socket, asio::buffer(&byte, 1), failed);
        return;
      }
      std::string piece;
      quick_vocabulary().append_piece(token, piece);
      event({{"content", piece},
             {"tokens", {token}},
             {"stop", false},
             {"tokens_predicted", ++count}});
    }
    event({{"content", ""},
           {"tokens", Json::array()},
           {"stop", true},
           {"stop_type", "eos"},
           {"tokens_predicted", count}});
    say("0\r\n\r\n");
  }

  Script script_;
  std::vector<Json> requests_;
  std::atomic<bool> stopping_ = false;
  asio::io_context context_;
  tcp::acceptor acceptor_;
  std::thread thread_;
};

Session open_session() {
  auto session = Session::create(quick_vocabulary(), {make_tool("f", 10)}, {{"user", "go"}},
                                 {.mode = Mode::async});
  EXPECT_TRUE(session) << session.error().message;
  return std::move(*session);
}

SimulatedReturn quick_tool(CallKey, const CallRecord&) {
  return {from_ms(30), {Outcome::returned, "one"}};
}

std::vector<Token> spelled_tokens(std::string_view text) {
  return encode_with_controls(quick_vocabulary(), text);
}

TEST(CompletionClient, AResultEndsTheStreamAndBeginsOneWithTheWholeContext) {
  ScriptedServer server([](const Json& request) {
    auto tokens = spelled_tokens(R"([CALL]a[HEAD]f(x="1")[END])");
    if (request["prompt"].size() > open_session().context().size()) return std::vector<Token>{};
    tokens.append_range(spelled_tokens("abc\n"));
    tokens.push_back(kNoToken);  // it writes so slowly that the result comes first
    return tokens;
  });
  CompletionClient client(server.port(), quick_vocabulary());
  Session session = open_session();
  const std::vector<Token> prompt(session.context().begin(), session.context().end());
  const auto report = client.run(session, from_ms(1000), false, quick_tool, {}, {});
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(std::get<Done>(session.step()).reason, FinishReason::stop);
  ASSERT_EQ(server.requests().size(), 2U);
  const Json& first = server.requests()[0];
  const Json& second = server.requests()[1];
  EXPECT_EQ(first["prompt"].get<std::vector<Token>>(), prompt);
  EXPECT_TRUE(first["cache_prompt"].get<bool>()) << "the first prompt counts in no arm";
  EXPECT_FALSE(second["cache_prompt"].get<bool>());
  const std::string context =
      spelled(quick_vocabulary(), second["prompt"].get<std::vector<Token>>());
  EXPECT_TRUE(context.contains("[END]abc\n[INTR]")) << context;
  EXPECT_TRUE(context.contains("one")) << context;
  ASSERT_EQ(session.calls().size(), 1U);
  const CallRecord& call = session.calls().front();
  EXPECT_GE(*call.dispatched, from_ms(1000));
  EXPECT_GE(*call.returned, *call.dispatched + from_ms(30));
  EXPECT_GE(report->end, from_ms(1030));
  // The steps are one behind the other, and one of them took in the result.
  EXPECT_EQ(std::ranges::count(report->steps, true, &SimulatedStep::is_new_request), 1);
  EXPECT_EQ(report->steps.back().took_in, std::vector<CallKey>{0});
}

TEST(CompletionClient, APausedModelWaitsWithoutARequest) {
  int asked = 0;
  ScriptedServer server([&](const Json&) {
    return ++asked == 1 ? spelled_tokens(R"([CALL]a[HEAD]f(x="1")[END][TRAP])")
                        : std::vector<Token>{};
  });
  CompletionClient client(server.port(), quick_vocabulary());
  Session session = open_session();
  ASSERT_TRUE(client.compute(session.context()));
  asked = 0;
  ASSERT_TRUE(client.run(session, Time{}, true, quick_tool, {}, {}));
  ASSERT_EQ(server.requests().size(), 3U);
  EXPECT_EQ(server.requests()[0]["n_predict"], 0);
  EXPECT_TRUE(server.requests()[2]["cache_prompt"].get<bool>());
}

// What becomes of a session whose one request is answered with this, byte by byte.
Result<SimulationReport> answered_with(const std::string& answer, Session& session) {
  asio::io_context context;
  tcp::acceptor acceptor(context, tcp::endpoint(asio::ip::address_v4::loopback(), 0));
  std::thread server([&] {
    tcp::socket socket(context);
    acceptor.accept(socket);
    boost::beast::flat_buffer buffer;
    http::request<http::string_body> request;
    boost::system::error_code failed;
    http::read(socket, buffer, request, failed);
    asio::write(socket, asio::buffer(answer), failed);
  });
  CompletionClient client(acceptor.local_endpoint().port(), quick_vocabulary());
  auto report = client.run(session, Time{}, true, quick_tool, {}, {});
  server.join();
  return report;
}

std::string said_of(const std::string& answer) {
  Session session = open_session();
  const auto report = answered_with(answer, session);
  return report ? "no error" : report.error().message;
}

TEST(CompletionClient, WhatAServerSaysInsteadOfTokensIsAnError) {
  const std::string body = R"({"error":{"code":400,"message":"no such slot"}})";
  EXPECT_TRUE(said_of(std::format("HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\n\r\n{}",
                                  body.size(), body))
                  .contains("no such slot"));
  const auto stream = [](const std::string& event) {
    return "HTTP/1.1 200 OK\r\n\r\ndata: " + event + "\n\n";
  };
  EXPECT_TRUE(said_of(stream(body)).contains("no such slot"));
  EXPECT_TRUE(said_of(stream("{\"a\": 1}")).contains("not one of completions"));
  EXPECT_TRUE(said_of(stream("{")).contains("not one of completions"));
  EXPECT_TRUE(said_of("HTTP/1.1 200 OK\r\n\r\n").contains("the server: "));
  EXPECT_TRUE(said_of("").contains("the server: "));
  EXPECT_TRUE(said_of("never heard of HTTP\n\n").contains("the server: "));
  // A token is missing, and the text does not say which.
  EXPECT_TRUE(
      said_of(stream(R"({"content":"abc","tokens":[98],"stop":false,"tokens_predicted":2})"))
          .contains("leaves out tokens"));
}

TEST(CompletionClient, PartsOfACharacterAreReadFromItsText) {
  // "ä" is two bytes, and two tokens: the first one comes as no event.
  const std::string answer =
      "HTTP/1.1 200 OK\r\n\r\n"
      "data: {\"content\":\"\u00e4\",\"tokens\":[164],\"stop\":false,\"tokens_predicted\":2}\n\n"
      "data: {\"content\":\"\",\"tokens\":[],\"stop\":true,\"stop_type\":\"eos\","
      "\"tokens_predicted\":2}\n\n";
  Session session = open_session();
  const auto report = answered_with(answer, session);
  ASSERT_TRUE(report) << report.error().message;
  EXPECT_EQ(session.answer(), "\u00e4");
}

TEST(CompletionClient, AServerThatSaysNothingMoreIsAnError) {
  ScriptedServer server([](const Json&) {
    auto tokens = spelled_tokens("abc");
    tokens.push_back(kNoToken);
    return tokens;
  });
  CompletionClient client(server.port(), quick_vocabulary(), std::chrono::milliseconds{300});
  Session session = open_session();
  const auto report = client.run(session, Time{}, true, quick_tool, {}, {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::io);
  EXPECT_EQ(report.error().message, "the server has said nothing for 0.3 s");
}

TEST(CompletionClient, AServerThatIsNotThereIsAnError) {
  CompletionClient client(1, quick_vocabulary());
  Session session = open_session();
  const auto report = client.run(session, Time{}, true, quick_tool, {}, {});
  ASSERT_FALSE(report);
  EXPECT_EQ(report.error().code, ErrorCode::io);
  EXPECT_TRUE(report.error().message.contains("cannot be asked")) << report.error().message;
}

TEST(LlamaServer, WhatKeepsItFromStartingIsSaid) {
  const auto missing =
      LlamaServer::start({.program = "/no/llama-server", .model_path = "m"}, quick_vocabulary());
  ASSERT_FALSE(missing);
  EXPECT_EQ(missing.error().code, ErrorCode::not_found);
  EXPECT_TRUE(missing.error().message.contains("/no/llama-server")) << missing.error().message;
  const auto refused = LlamaServer::start({.model_path = "/no/model.gguf"}, quick_vocabulary());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, ErrorCode::io);
  EXPECT_TRUE(refused.error().message.contains("/no/model.gguf")) << refused.error().message;
}

TEST(LlamaServer, AServerThatDiesIsNoticedAndNoneIsLeftBehind) {
  const char* const path = ASYNCLM_SOURCE_DIR "/tests/data/toy.gguf";
  const auto vocabulary = load_vocabulary(path);
  ASSERT_TRUE(vocabulary) << vocabulary.error().message;
  auto server = LlamaServer::start({.model_path = path, .context_tokens = 512}, **vocabulary);
  ASSERT_TRUE(server) << server.error().message;
  auto session = Session::create(**vocabulary, {make_tool("f", 10)}, {{"user", "go"}}, {});
  ASSERT_TRUE(session) << session.error().message;
  EXPECT_TRUE((*server)->client().compute(session->context()));
  const pid_t pid = (*server)->pid();
  ::kill(pid, SIGKILL);
  const auto report = (*server)->client().run(*session, Time{}, true, quick_tool, {}, {});
  ASSERT_FALSE(report);
  EXPECT_TRUE(report.error().message.contains("has ended")) << report.error().message;

  auto other = LlamaServer::start({.model_path = path, .context_tokens = 512}, **vocabulary);
  ASSERT_TRUE(other) << other.error().message;
  const pid_t left = (*other)->pid();
  EXPECT_EQ(::kill(left, 0), 0);
  other->reset();
  EXPECT_EQ(::kill(left, 0), -1);
}

}  // namespace
}  // namespace asynclm::bench
