// SPDX-License-Identifier: Apache-2.0
// asynclm chat: a conversation in which one types while the model writes and calls run. On a
// terminal with a live picture; elsewhere lines in, events out.
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <format>
#include <iostream>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include <asynclm/runtime.h>

#include "cli/assets.h"
#include "cli/chat_line.h"
#include "cli/chat_screen.h"
#include "cli/commands.h"
#include "cli/conversation.h"
#include "cli/drive.h"
#include "cli/line_editor.h"
#include "cli/plain_printer.h"
#include "cli/raw_terminal.h"
#include "cli/run_options.h"
#include "cli/stop_signals.h"
#include "cli/terminal.h"

namespace asynclm {
namespace {

// What was to be read by now, at most so much; waits for a tick. End of input: false.
bool read_input(std::string& out) {
  pollfd input{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0};
  const int ready = poll(&input, 1, static_cast<int>(kTick.count()));
  if (ready <= 0) return ready == 0 || errno == EINTR;
  char buffer[4096];
  const ssize_t count = read(STDIN_FILENO, buffer, sizeof buffer);
  if (count < 0) return errno == EINTR || errno == EAGAIN;
  out.append(buffer, static_cast<std::size_t>(count));
  return count > 0;
}

void wait_a_tick() { (void)poll(nullptr, 0, static_cast<int>(kTick.count())); }

// What both kinds of user interface do with a line. Says what the person is to be told.
class ChatTalk {
 public:
  explicit ChatTalk(Conversation& conversation) : conversation_(conversation) {}

  struct Reply {
    std::string text = {};            // empty: nothing
    std::string said = {}, how = {};  // what goes to the model
    bool failed = false, quit = false, wait = false, loaded = false;
  };
  [[nodiscard]] Reply act(std::string_view line) {
    const auto parsed = parse_chat_line(line);
    if (!parsed) return {.text = parsed.error().message, .failed = true};
    switch (parsed->kind) {
      case ChatLine::Kind::nothing:
        return {};
      case ChatLine::Kind::say:
        return say(parsed->text, Delivery::interrupt, "");
      case ChatLine::Kind::later:
        return say(parsed->text, Delivery::when_idle, "when it is idle");
      case ChatLine::Kind::note:
        return say(parsed->text, Delivery::silent, "with the next message");
      case ChatLine::Kind::cancel:
        return done(conversation_.cancel_call(parsed->text), "");
      case ChatLine::Kind::calls:
        return {.text = calls_text(conversation_.timeline(), conversation_.now())};
      case ChatLine::Kind::save:
        return done(conversation_.save(parsed->text), "saved to " + parsed->text);
      case ChatLine::Kind::load:
        return load(parsed->text);
      case ChatLine::Kind::wait:
        return {.wait = true};
      case ChatLine::Kind::help:
        return {.text = std::string(chat_help())};
      case ChatLine::Kind::quit:
        return {.quit = true};
    }
    return {};
  }

 private:
  Reply done(const Result<void>& result, const std::string& text) {
    if (!result) return {.text = result.error().message, .failed = true};
    return {.text = text};
  }
  Reply load(const std::string& path) {
    Reply reply = done(conversation_.load(path), "going on with " + path);
    reply.loaded = !reply.failed;
    return reply;
  }
  Reply say(const std::string& text, Delivery delivery, const char* how) {
    const auto taken = conversation_.say(text, delivery);
    if (!taken) return {.text = taken.error().message, .failed = true};
    return {.said = text, .how = how};
  }

  Conversation& conversation_;
};

std::string state_line(const Conversation& conversation, Mode mode) {
  const Timeline& timeline = conversation.timeline();
  std::string state = std::format("── {} · ", to_string(mode));
  if (conversation.ended()) {
    return state + std::format("ended ({})", to_string(conversation.ended()->finish));
  }
  if (!conversation.begun()) return state + "say what is to be done; /help";
  if (!conversation.in_turn()) return state + "your turn; /help";
  return state + (timeline.waiting() ? "waiting" : "writing") + "; Ctrl-C stops it";
}

// --- lines in, events out ----------------------------------------------------------------------

class PlainChat {
 public:
  PlainChat(Conversation& conversation, const StopSignals& signals, const RunHeader& header)
      : conversation_(conversation), signals_(signals), talk_(conversation), printer_(std::cout) {
    printer_.begin(header);
    printer_.go_on(conversation.timeline());
  }

  int run() {
    while (!quit_ && std::cout) {
      show_events();
      if (signals_.stop_wanted() && !on_signal()) break;
      if (waits_ && conversation_.in_turn()) {
        wait_a_tick();
      } else if (waits_ = false; const auto line = next_line()) {
        act(*line);
      } else if (!at_end_) {
        at_end_ = !read_input(input_);
      } else {  // whatever was said is answered
        if (!std::exchange(closed_, true)) conversation_.close();
        if (!conversation_.in_turn()) break;
        wait_a_tick();
      }
    }
    show_events();
    return failed_ ? kExitFailed : kExitOk;
  }

 private:
  std::optional<std::string> next_line() {
    const auto end = input_.find('\n');
    if (end == std::string::npos && !(at_end_ && !input_.empty())) return std::nullopt;
    std::string line = input_.substr(0, end);
    input_.erase(0, end == std::string::npos ? end : end + 1);
    return line;
  }

  void act(const std::string& line) {
    const ChatTalk::Reply reply = talk_.act(line);
    quit_ = reply.quit;
    waits_ = reply.wait;
    failed_ = failed_ || reply.failed;
    if (reply.loaded) printer_.go_on(conversation_.timeline());
    show_events();
    if (reply.text.empty()) return;
    std::string_view rest = reply.text;
    while (!rest.empty()) {
      const auto end = std::min(rest.find('\n'), rest.size());
      printer_.note(conversation_.now(), std::string(rest.substr(0, end)), reply.failed);
      rest.remove_prefix(std::min(end + 1, rest.size()));
    }
  }

  void show_events() {
    for (const RunEvent& event : conversation_.take()) printer_.event(event);
    if (!conversation_.in_turn()) printer_.flush();
    if (conversation_.ended() && !std::exchange(told_, true)) {
      const RunReport& report = *conversation_.ended();
      failed_ = failed_ || report.finish == FinishReason::error;
      if (report.error) printer_.note(report.wall, report.error->message, true);
    }
  }

  // The first Ctrl-C stops the turn; the second one ends the process (StopSignals). False: end.
  bool on_signal() {
    failed_ = true;
    if (!signals_.only_ctrl_c()) return false;
    if (stopped_) return true;
    stopped_ = conversation_.in_turn();
    if (stopped_) conversation_.cancel_turn();
    return stopped_;
  }

  Conversation& conversation_;
  const StopSignals& signals_;
  ChatTalk talk_;
  PlainPrinter printer_;
  std::string input_;
  bool at_end_ = false, quit_ = false, waits_ = false, closed_ = false;
  bool failed_ = false, told_ = false, stopped_ = false;
};

// --- on a terminal -----------------------------------------------------------------------------

class TerminalChat {
 public:
  TerminalChat(Conversation& conversation, const StopSignals& signals, Mode mode)
      : conversation_(conversation),
        signals_(signals),
        mode_(mode),
        talk_(conversation),
        screen_(std::cout, colour_wanted()) {}

  int run() {
    const RawTerminal raw;
    while (!quit_ && std::cout && !signals_.stop_wanted()) {
      show_events();
      screen_.draw(conversation_.timeline(), conversation_.now(), state_line(conversation_, mode_),
                   editor_);
      std::string bytes;
      if (!read_input(bytes)) break;
      for (const char byte : bytes) on_byte(byte);
    }
    show_events();
    screen_.leave();
    return kExitOk;
  }

 private:
  void on_byte(char byte) {
    switch (editor_.feed(byte)) {
      case LineEditor::Key::none:
        stopped_ = false;
        break;
      case LineEditor::Key::enter:
        act(editor_.take_line());
        break;
      case LineEditor::Key::end_of_input:
        quit_ = true;
        break;
      case LineEditor::Key::interrupt:
        // The first one stops the model, the second one ends; without a turn one is enough.
        if (!editor_.text().empty()) {
          editor_.clear();
        } else if (conversation_.in_turn() && !std::exchange(stopped_, true)) {
          conversation_.cancel_turn();
          screen_.notice("stopped; Ctrl-C again ends");
        } else {
          quit_ = true;
        }
        break;
    }
  }

  void act(const std::string& line) {
    ChatTalk::Reply reply = talk_.act(line);
    quit_ = reply.quit;
    if (!reply.said.empty()) screen_.said(reply.said, reply.how);
    show_events();
    if (reply.wait) reply.text = "/wait is for scripts: here you see when it is your turn";
    if (!reply.text.empty()) screen_.notice(reply.text);
  }

  void show_events() {
    for (const RunEvent& event : conversation_.take()) {
      screen_.event(event, conversation_.timeline());
    }
    if (conversation_.ended() && !std::exchange(told_, true)) {
      const RunReport& report = *conversation_.ended();
      screen_.notice(std::format("the conversation has ended ({}){}", to_string(report.finish),
                                 report.error ? ": " + report.error->message : ""));
    }
    if (!conversation_.ended()) told_ = false;
  }

  Conversation& conversation_;
  const StopSignals& signals_;
  Mode mode_;
  ChatTalk talk_;
  ChatScreen screen_;
  LineEditor editor_;
  bool quit_ = false, stopped_ = false, told_ = false;
};

// --- the command -------------------------------------------------------------------------------

struct ChatProgram {
  RunOptions options;
  std::optional<std::string> load;

  int complain(const Error& error) const {
    std::cerr << "asynclm chat: " << error.message << '\n';
    return kExitUsage;
  }

  int run() {
    const StopSignals signals;
    if (auto valid = validate(options.sampling); !valid) return complain(valid.error());
    const auto mode = parse_mode(options.mode);
    if (!mode) return complain(mode.error());
    const auto manifest = options.find_manifest();
    if (!manifest) return complain(manifest.error());
    Toolbox tools;
    if (auto loaded = tools.load_manifest(*manifest); !loaded) return complain(loaded.error());
    const auto model = find_model(options.model, [&] { return signals.stop_wanted(); });
    if (!model) return complain(model.error());
    const auto engine_options = options.engine(*model);
    if (!engine_options) return complain(engine_options.error());
    auto engine = make_llama_engine(*engine_options);
    if (!engine) return complain(engine.error());
    auto runtime = Runtime::create(std::move(*engine), std::move(tools), {});
    if (!runtime) return complain(runtime.error());

    RunHeader header{.version = ASYNCLM_VERSION,
                     .library = (*runtime)->engine_info().library,
                     .model = std::filesystem::path(*model).filename().string(),
                     .mode = *mode,
                     .task = "a conversation",
                     .tools = {}};
    for (const ToolSpec& tool : (*runtime)->tools()) header.tools.push_back(tool.name);
    Conversation conversation(**runtime, options.request(*mode, (*runtime)->engine_info()));
    if (load) {
      if (auto loaded = conversation.load(*load); !loaded) return complain(loaded.error());
    }
    if (stdout_is_live_terminal() && isatty(STDIN_FILENO) == 1) {
      return TerminalChat(conversation, signals, *mode).run();
    }
    return PlainChat(conversation, signals, header).run();
  }
};

}  // namespace

void add_chat_command(CLI::App& app, int& exit_code) {
  CLI::App* chat = app.add_subcommand("chat", "Talk with a model while it writes and calls run");
  const auto program = std::make_shared<ChatProgram>();
  program->options.add_to(*chat);
  chat->add_option("--load", program->load, "Go on with a saved conversation")->option_text("FILE");
  chat->footer(std::string(chat_help()));
  chat->callback([program, &exit_code] { exit_code = program->run(); });
}

}  // namespace asynclm
