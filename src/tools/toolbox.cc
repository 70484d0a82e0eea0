// SPDX-License-Identifier: Apache-2.0
#include "tools/toolbox.h"

#include <algorithm>
#include <cstddef>
#include <utility>

#include "cml/call_syntax.h"
#include "cml/schema.h"

namespace asynclm {
namespace {

// Descriptions and argument lists become part of the prompt.
constexpr std::size_t kMaxDescriptionBytes = 1024;

std::unexpected<Error> invalid(const ToolSpec& spec, const std::string& what) {
  return fail(ErrorCode::invalid_argument, "tool \"" + spec.name + "\": " + what);
}

bool is_line(const std::string& text) {
  return std::ranges::none_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20U || c == '\x7f'; });
}

bool is_utf8(const std::string& text) {
  try {
    return !Json(text).dump().empty();
  } catch (const Json::exception&) {
    return false;
  }
}

Result<void> check_command(const ToolSpec& spec, const ProcessCommand& command) {
  if (command.argv.empty() || command.argv[0].empty()) {
    return invalid(spec, "its command is empty; name a program");
  }
  const auto has_zero = [](const std::string& s) { return s.find('\0') != std::string::npos; };
  if (std::ranges::any_of(command.argv, has_zero) || has_zero(command.directory)) {
    return invalid(spec, "its command or directory has a zero byte; remove it");
  }
  return {};
}

}  // namespace

const Toolbox::Impl::Entry* Toolbox::Impl::find(std::string_view name) const {
  const auto found = std::ranges::find(entries, name, [](const Entry& e) { return e.spec.name; });
  return found == entries.end() ? nullptr : &*found;
}

Result<void> Toolbox::Impl::check(const Entry& entry) {
  const ToolSpec& spec = entry.spec;
  if (!is_identifier(spec.name)) {
    return fail(ErrorCode::invalid_argument,
                "tool " + Json(spec.name).dump(-1, ' ', true, Json::error_handler_t::replace) +
                    ": a name has letters, digits and _, does not begin with a digit, and has at "
                    "most 64 characters; rename it");
  }
  if (spec.description.size() > kMaxDescriptionBytes || !is_line(spec.description) ||
      !is_utf8(spec.description)) {
    return invalid(spec, "its description must be one line of UTF-8 of at most " +
                             std::to_string(kMaxDescriptionBytes) + " bytes");
  }
  if (spec.estimate.count() < 0 || spec.estimate > kMaxToolTime) {
    return invalid(spec, "its estimate must be from 0 to 86400000 ms");
  }
  if (spec.timeout.count() < 1 || spec.timeout > kMaxToolTime) {
    return invalid(spec, "its timeout must be from 1 to 86400000 ms");
  }
  if (const auto* program = std::get_if<Program>(&entry.run)) {
    if (auto good = check_command(spec, program->command); !good) return good;
  } else if (!std::get<ToolFunction>(entry.run)) {
    return invalid(spec, "its function is empty");
  }
  auto compiled = ArgumentValidator::compile(spec);
  if (!compiled) return std::unexpected(compiled.error());
  return {};
}

Result<void> Toolbox::Impl::add(Entry entry) {
  if (auto good = check(entry); !good) return good;
  if (find(entry.spec.name) != nullptr) {
    return invalid(entry.spec, "there is already a tool of this name; rename one");
  }
  entries.push_back(std::move(entry));
  return {};
}

Toolbox::Toolbox() : impl_(std::make_unique<Impl>()) {}
Toolbox::~Toolbox() = default;
Toolbox::Toolbox(Toolbox&&) noexcept = default;
Toolbox& Toolbox::operator=(Toolbox&&) noexcept = default;

Result<void> Toolbox::add(ToolSpec spec, ToolFunction function) {
  return impl_->add({std::move(spec), std::move(function)});
}

Result<void> Toolbox::add(ToolSpec spec, ProcessCommand command) {
  std::string shown = command.argv.empty() ? "" : command.argv[0];
  return impl_->add({std::move(spec), Impl::Program{std::move(command), std::move(shown)}});
}

std::vector<ToolSpec> Toolbox::specs() const {
  std::vector<ToolSpec> out;
  out.reserve(impl_->entries.size());
  for (const Impl::Entry& entry : impl_->entries) out.push_back(entry.spec);
  return out;
}

const ToolSpec* Toolbox::find(std::string_view name) const {
  const Impl::Entry* entry = impl_->find(name);
  return entry == nullptr ? nullptr : &entry->spec;
}

}  // namespace asynclm
