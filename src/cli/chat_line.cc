// SPDX-License-Identifier: Apache-2.0
#include "cli/chat_line.h"

#include <format>

namespace asynclm {
namespace {

std::string_view without_blanks(std::string_view text) {
  constexpr std::string_view kBlank = " \t\r\n";
  const auto first = text.find_first_not_of(kBlank);
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(kBlank) - first + 1);
}

struct ChatCommand {
  std::string_view name;
  ChatLine::Kind kind;
  std::string_view needs;  // what stands behind it; empty: nothing
};

constexpr ChatCommand kCommands[] = {
    {"/later", ChatLine::Kind::later, "TEXT"}, {"/note", ChatLine::Kind::note, "TEXT"},
    {"/calls", ChatLine::Kind::calls, ""},     {"/cancel", ChatLine::Kind::cancel, "ID"},
    {"/save", ChatLine::Kind::save, "FILE"},   {"/load", ChatLine::Kind::load, "FILE"},
    {"/wait", ChatLine::Kind::wait, ""},       {"/help", ChatLine::Kind::help, ""},
    {"/quit", ChatLine::Kind::quit, ""}};

}  // namespace

Result<ChatLine> parse_chat_line(std::string_view line) {
  const std::string_view text = without_blanks(line);
  if (text.empty()) return ChatLine{};
  if (!text.starts_with('/')) return ChatLine{ChatLine::Kind::say, std::string(text)};
  if (text.starts_with("//")) return ChatLine{ChatLine::Kind::say, std::string(text.substr(1))};
  const std::string_view name = text.substr(0, text.find(' '));
  const std::string_view rest = without_blanks(text.substr(name.size()));
  for (const ChatCommand& command : kCommands) {
    if (command.name != name) continue;
    if (command.needs.empty() != rest.empty()) {
      return fail(ErrorCode::invalid_argument,
                  rest.empty() ? std::format("{} needs a word: {} {}", name, name, command.needs)
                               : std::format("{} stands alone", name));
    }
    return ChatLine{command.kind, std::string(rest)};
  }
  return fail(ErrorCode::invalid_argument,
              std::format("there is no {}; /help lists the commands", name));
}

std::string_view chat_help() {
  return "What you type goes to the model, also while it writes: it reads it after its line.\n"
         "/later TEXT   says it when the model has nothing to do\n"
         "/note TEXT    says it along with the next message or result\n"
         "/calls        lists the calls\n"
         "/cancel ID    stops a call\n"
         "/save FILE    saves the conversation; /load FILE goes on with one\n"
         "/wait         reads the next line when the model has ended its turn\n"
         "/quit         ends; Ctrl-C stops the model first, Ctrl-D ends too\n"
         "//TEXT        says /TEXT\n";
}

}  // namespace asynclm
