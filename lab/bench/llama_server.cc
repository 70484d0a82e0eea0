// SPDX-License-Identifier: Apache-2.0
#include "bench/llama_server.h"

#include <algorithm>
#include <chrono>
#include <deque>
#include <format>
#include <functional>
#include <optional>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http.hpp>

#include <asynclm/tool.h>

#include "tools/process.h"

namespace asynclm::bench {
namespace {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

constexpr std::chrono::seconds kLoadingTime{300};
constexpr std::chrono::milliseconds kBetweenQuestions{20};
constexpr std::chrono::seconds kEndingTime{2};
constexpr std::chrono::milliseconds kNoticingTime{500};
// The session's own limits come first.
constexpr std::int32_t kRoomBeyondSession = 256;
constexpr std::size_t kMaxServerOutput = 1 << 28;

tcp::endpoint local(std::uint16_t port) { return {asio::ip::address_v4::loopback(), port}; }

Time since(std::chrono::steady_clock::time_point origin) {
  return std::chrono::duration_cast<Time>(std::chrono::steady_clock::now() - origin);
}

// One request whose answer is a stream of tokens. Closing it makes the server stop.
class TokenStream : public std::enable_shared_from_this<TokenStream> {
 public:
  TokenStream(asio::io_context& context, const Vocabulary& vocabulary)
      : socket_(context), vocabulary_(vocabulary) {
    parser_.body_limit(boost::none);
  }

  Result<void> open(const tcp::endpoint& server, const Json& question) {
    http::request<http::string_body> request{http::verb::post, "/completion", 11};
    request.set(http::field::host, "127.0.0.1");
    request.set(http::field::content_type, "application/json");
    request.body() = question.dump();
    request.prepare_payload();
    error_code failed;
    socket_.connect(server, failed);
    if (!failed) socket_.set_option(tcp::no_delay(true), failed);
    if (!failed) http::write(socket_, request, failed);
    if (failed) return fail(ErrorCode::io, "the server cannot be asked: " + failed.message());
    heard_ = std::chrono::steady_clock::now();
    read();
    return {};
  }
  void close() {
    closed_ = true;
    error_code ignored;
    socket_.close(ignored);
  }

  // The next token that has come.
  std::optional<Token> take() {
    if (tokens_.empty()) return std::nullopt;
    const Token token = tokens_.front();
    tokens_.pop_front();
    return token;
  }
  [[nodiscard]] bool has_news() const { return !tokens_.empty() || ended_; }
  // All tokens have come, or an error.
  [[nodiscard]] bool ended() const { return ended_; }
  [[nodiscard]] const std::optional<Error>& error() const { return error_; }
  // When the server last said something, or was asked.
  [[nodiscard]] std::chrono::steady_clock::time_point heard() const { return heard_; }

 private:
  void read() {
    http::async_read_some(socket_, buffer_, parser_,
                          [self = shared_from_this()](error_code failed, std::size_t) {
                            if (!self->closed_) self->take_in(failed);
                          });
  }

  void take_in(error_code failed) {
    heard_ = std::chrono::steady_clock::now();
    if (parser_.is_header_done() && parser_.get().result() == http::status::ok) {
      parse();
    } else if (parser_.is_done()) {
      refused(parser_.get().body());
    }
    if (ended_) return;
    if (failed || parser_.is_done()) {
      return end(failed ? failed.message() : "its answer has no end");
    }
    read();
  }

  // The lines of the body that are complete: server-sent events.
  void parse() {
    const std::string& body = parser_.get().body();
    for (auto line = body.find('\n', parsed_); line != std::string::npos && !ended_;
         line = body.find('\n', parsed_)) {
      constexpr std::string_view kData = "data: ";
      const std::string_view text = std::string_view(body).substr(parsed_, line - parsed_);
      parsed_ = line + 1;
      if (text.starts_with(kData)) read_event(text.substr(kData.size()));
    }
  }

  void read_event(std::string_view text) {
    try {
      const Json event = Json::parse(text);
      if (event.contains("error")) return refused(text);
      auto tokens = event.at("tokens").get<std::vector<Token>>();
      const auto written = event.at("tokens_predicted").get<std::size_t>();
      const bool stops = event.at("stop").get<bool>();
      if (!stops && count_ + tokens.size() != written) {
        // Tokens that are parts of a character are sent as text only, with the one that ends it.
        tokens = vocabulary_.encode(event.at("content").get<std::string>());
        if (count_ + tokens.size() != written) return end("its stream leaves out tokens");
      }
      count_ += tokens.size();
      tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
      if (!stops) return;
      if (event.at("stop_type") == "eos") {
        Token stop = 0;
        while (!vocabulary_.is_end_of_generation(stop)) ++stop;
        tokens_.push_back(stop);
      }
      ended_ = true;
    } catch (const Json::exception& problem) {
      end(std::format("its stream is not one of completions ({})", problem.what()));
    }
  }

  // {"error": {"message": …}}, or whatever it says.
  void refused(std::string_view body) {
    const Json answer = Json::parse(body, nullptr, /*allow_exceptions=*/false);
    const auto words = Json::json_pointer("/error/message");
    end(answer.is_object() && answer.contains(words) ? answer[words].dump() : std::string(body));
  }

  void end(const std::string& problem) {
    error_ = Error{ErrorCode::io, "the server: " + problem};
    ended_ = true;
  }

  tcp::socket socket_;
  const Vocabulary& vocabulary_;
  boost::beast::flat_buffer buffer_;
  http::response_parser<http::string_body> parser_;
  std::size_t parsed_ = 0;  // of the body
  std::deque<Token> tokens_;
  std::size_t count_ = 0;  // that have come
  std::chrono::steady_clock::time_point heard_;
  bool closed_ = false, ended_ = false;
  std::optional<Error> error_;
};

// Closes the stream when it is no longer wanted.
class OpenStream {
 public:
  OpenStream() = default;
  ~OpenStream() { reset(); }
  OpenStream(const OpenStream&) = delete;
  OpenStream& operator=(const OpenStream&) = delete;
  void reset(std::shared_ptr<TokenStream> stream = nullptr) {
    if (stream_) stream_->close();
    stream_ = std::move(stream);
  }
  TokenStream* get() { return stream_.get(); }

 private:
  std::shared_ptr<TokenStream> stream_;
};

}  // namespace

struct CompletionClient::Impl {
  asio::io_context context;
  tcp::endpoint server;
  const Vocabulary* vocabulary = nullptr;
  std::chrono::milliseconds longest_silence{};
  std::optional<std::string> last_words;  // the server's process has ended

  Result<std::shared_ptr<TokenStream>> ask(std::span<const Token> prompt, bool uses_cache,
                                           std::int32_t most) {
    auto stream = std::make_shared<TokenStream>(context, *vocabulary);
    const Json question = {{"prompt", std::vector<Token>(prompt.begin(), prompt.end())},
                           {"stream", true},
                           {"return_tokens", true},
                           {"cache_prompt", uses_cache},
                           {"n_predict", most},
                           {"temperature", 0}};
    if (auto ok = stream->open(server, question); !ok) return std::unexpected(because(ok.error()));
    return stream;
  }

  // What is wrong with a connection is mostly that the server has ended, which may be known a bit
  // later.
  [[nodiscard]] Error because(Error error) {
    const auto end = std::chrono::steady_clock::now() + kNoticingTime;
    if (context.stopped()) context.restart();
    while (!last_words && context.run_one_until(end) > 0) {
    }
    if (last_words) error.message = "the server has ended: " + *last_words;
    return error;
  }

  // Until the stream (may be null) has news, at most to `until` (nothing: without end).
  Result<void> wait(TokenStream* stream,
                    std::optional<std::chrono::steady_clock::time_point> until) {
    if (stream != nullptr) {
      const auto silent = stream->heard() + longest_silence;
      until = std::min(until.value_or(silent), silent);
    }
    asio::steady_timer timer(context);
    const auto is_due = std::make_shared<bool>(false);
    if (until) {
      timer.expires_at(*until);
      timer.async_wait([is_due](error_code) { *is_due = true; });
    }
    if (context.stopped()) context.restart();
    while (!*is_due && !(stream != nullptr && stream->has_news()) && !last_words) {
      context.run_one();
    }
    if (stream != nullptr && stream->error()) return std::unexpected(because(*stream->error()));
    if (last_words) return fail(ErrorCode::io, "the server has ended: " + *last_words);
    if (stream != nullptr && !stream->has_news() &&
        std::chrono::steady_clock::now() - stream->heard() >= longest_silence) {
      return fail(ErrorCode::io,
                  std::format("the server has said nothing for {:g} s",
                              std::chrono::duration<double>(longest_silence).count()));
    }
    return {};
  }
};

CompletionClient::CompletionClient(std::uint16_t port, const Vocabulary& vocabulary,
                                   std::chrono::milliseconds longest_silence)
    : impl_(std::make_unique<Impl>()) {
  impl_->server = local(port);
  impl_->vocabulary = &vocabulary;
  impl_->longest_silence = longest_silence;
}

CompletionClient::~CompletionClient() = default;

Result<void> CompletionClient::compute(std::span<const Token> prompt) {
  auto asked = impl_->ask(prompt, true, 0);
  if (!asked) return std::unexpected(asked.error());
  OpenStream stream;
  stream.reset(std::move(*asked));
  while (!stream.get()->ended()) {
    (void)stream.get()->take();
    if (auto ok = impl_->wait(stream.get(), std::nullopt); !ok) return ok;
  }
  return {};
}

Result<SimulationReport> CompletionClient::run(Session& session, Time start, bool uses_cache,
                                               const SimulatedTool& tool,
                                               const EventObserver& observer,
                                               std::span<const SimulatedInterrupt> interrupts) {
  SimulatedWorld world(session, start, {}, tool, observer, interrupts);
  const auto origin = std::chrono::steady_clock::now() - start;
  OpenStream stream;
  std::size_t known = 0;  // the stream's next token follows so many tokens of the context
  Time last = start;      // when the last token came, or the model could go on
  while (true) {
    const Step step = session.step();
    if (std::holds_alternative<Done>(step)) break;
    const bool waits = std::holds_alternative<Wait>(step);
    const auto next = world.next();
    const auto until = next.transform([&](Time at) { return origin + at; });
    if (waits) {
      if (!next) return fail(ErrorCode::internal, "the session waits, but no call is running");
      stream.reset();
      if (auto ok = impl_->wait(nullptr, until); !ok) return std::unexpected(ok.error());
      last = since(origin);
    } else {
      if (stream.get() == nullptr || known != session.context().size()) {
        stream.reset();  // before the next one is sent: the server works on one at a time
        known = session.context().size();
        const bool is_first = session.token_counts().generated == 0;
        auto asked = impl_->ask(session.context(), uses_cache || is_first, -1);
        if (!asked) return std::unexpected(asked.error());
        stream.reset(std::move(*asked));
      }
      if (auto ok = impl_->wait(stream.get(), until); !ok) return std::unexpected(ok.error());
      if (const auto token = stream.get()->take()) {
        const Time now = since(origin);
        session.decoded(*token, now);
        const auto context = session.context();
        world.stepped(last, now, known, {&*token, 1});
        last = now;
        // Where the session has put in something else, this stream goes on from the wrong place.
        if (context.size() == known + 1 && context.back() == *token)
          ++known;
        else
          stream.reset();
      } else if (stream.get()->ended()) {
        stream.reset();
        return fail(ErrorCode::limit_exceeded, "the server's context is full");
      }
    }
    if (auto ok = world.hand_in(since(origin), waits); !ok) return std::unexpected(ok.error());
  }
  return std::move(world).report(since(origin));
}

struct LlamaServer::Impl {
  explicit Impl(std::uint16_t port, const Vocabulary& vocabulary) : client(port, vocabulary) {}
  ~Impl() {
    if (process) process->stop();
    asio::io_context& context = client.impl_->context;
    context.restart();
    const auto end = std::chrono::steady_clock::now() + kEndingTime;
    while (!is_gone && context.run_one_until(end) > 0) {
    }
  }
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;

  CompletionClient client;
  std::uint16_t its_port = 0;
  std::shared_ptr<Process> process;
  bool is_gone = true;
};

LlamaServer::LlamaServer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
LlamaServer::~LlamaServer() = default;

CompletionClient& LlamaServer::client() { return impl_->client; }
pid_t LlamaServer::pid() const { return impl_->process->pid(); }

Result<Json> LlamaServer::chat(const Json& request) {
  asio::io_context context;
  tcp::socket socket(context);
  error_code failed;
  socket.connect(local(impl_->its_port), failed);
  http::request<http::string_body> post{http::verb::post, "/v1/chat/completions", 11};
  post.set(http::field::host, "127.0.0.1");
  post.set(http::field::content_type, "application/json");
  post.body() = request.dump(-1, ' ', false, Json::error_handler_t::replace);
  post.prepare_payload();
  if (!failed) http::write(socket, post, failed);
  boost::beast::flat_buffer buffer;
  http::response<http::string_body> response;
  if (!failed) http::read(socket, buffer, response, failed);
  if (failed) return fail(ErrorCode::io, "llama-server: " + failed.message());
  Json answer = Json::parse(response.body(), nullptr, /*allow_exceptions=*/false);
  if (response.result() != http::status::ok || answer.is_discarded()) {
    return fail(ErrorCode::io, "llama-server: " + response.body().substr(0, 200));
  }
  return answer;
}

namespace {

// A port that was free a moment ago: a server whose port was taken since ends, and says so.
Result<std::uint16_t> free_port() {
  asio::io_context context;
  error_code failed;
  tcp::acceptor acceptor(context);
  acceptor.open(tcp::v4(), failed);
  if (!failed) acceptor.bind(local(0), failed);
  if (failed) return fail(ErrorCode::io, "no port is free: " + failed.message());
  return acceptor.local_endpoint().port();
}

// Whether it has loaded its model.
bool is_ready(std::uint16_t port) {
  asio::io_context context;
  tcp::socket socket(context);
  error_code failed;
  socket.connect(local(port), failed);
  http::request<http::empty_body> request{http::verb::get, "/health", 11};
  request.set(http::field::host, "127.0.0.1");
  if (!failed) http::write(socket, request, failed);
  boost::beast::flat_buffer buffer;
  http::response<http::string_body> response;
  if (!failed) http::read(socket, buffer, response, failed);
  return !failed && response.result() == http::status::ok;
}

}  // namespace

Result<std::unique_ptr<LlamaServer>> LlamaServer::start(const LlamaServerOptions& options,
                                                        const Vocabulary& vocabulary) {
  const auto port = free_port();
  if (!port) return std::unexpected(port.error());
  auto impl = std::make_unique<Impl>(*port, vocabulary);
  impl->its_port = *port;
  CompletionClient::Impl& client = *impl->client.impl_;
  const std::string threads = std::to_string(options.threads);
  auto process = Process::start(
      client.context,
      {.command = {.argv = {options.program, "--model", options.model_path, "--host", "127.0.0.1",
                            "--port", std::to_string(*port), "--ctx-size",
                            std::to_string(options.context_tokens + kRoomBeyondSession),
                            "--threads", threads, "--threads-batch", threads, "--parallel", "1",
                            "--log-verbosity", "1"},
                   .directory = {}},
       .shown = options.program,
       .input = {},
       .max_output_bytes = kMaxServerOutput,
       .on_result = [&client](const CallResult& result) { client.last_words = result.text; },
       .on_gone = [&gone = impl->is_gone] { gone = true; }});
  if (!process) {
    return fail(
        ErrorCode::not_found,
        process.error().message + " (Debian: llama.cpp-tools; --server names another program)");
  }
  impl->is_gone = false;
  impl->process = std::move(*process);
  const auto end = std::chrono::steady_clock::now() + kLoadingTime;
  while (!is_ready(*port)) {
    client.context.run_for(kBetweenQuestions);
    if (client.last_words) {
      return fail(ErrorCode::io, std::format("'{}' ended while it loaded {}: {}", options.program,
                                             options.model_path, *client.last_words));
    }
    if (std::chrono::steady_clock::now() > end) {
      return fail(ErrorCode::io, std::format("'{}' has not loaded {} in {} s", options.program,
                                             options.model_path, kLoadingTime.count()));
    }
  }
  return std::unique_ptr<LlamaServer>(new LlamaServer(std::move(impl)));
}

}  // namespace asynclm::bench
