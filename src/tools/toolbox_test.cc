// SPDX-License-Identifier: Apache-2.0
#include "tools/toolbox.h"

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <gtest/gtest.h>

#include "base/test_folder.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;

Result<std::string> nothing(const Json&, std::stop_token) { return ""; }

std::string add_error(const ToolSpec& spec, ToolFunction function = nothing) {
  Toolbox tools;
  auto added = tools.add(spec, std::move(function));
  EXPECT_TRUE(added || tools.specs().empty());
  return added ? "no error" : added.error().message;
}

ToolSpec named(const std::string& name) {
  ToolSpec spec;
  spec.name = name;
  return spec;
}

TEST(Toolbox, KeepsTheOrderAndFindsByName) {
  Toolbox tools;
  ASSERT_TRUE(tools.add(named("b"), nothing));
  ASSERT_TRUE(tools.add(named("a"), ProcessCommand{{"true"}, ""}));
  ASSERT_EQ(tools.specs().size(), 2U);
  EXPECT_EQ(tools.specs()[0].name, "b");
  EXPECT_EQ(tools.find("a")->name, "a");
  EXPECT_EQ(tools.find("c"), nullptr);
  const Toolbox moved = std::move(tools);
  EXPECT_NE(moved.find("a"), nullptr);
}

TEST(Toolbox, RefusesWhatCannotBeCalled) {
  const std::string rule =
      ": a name has letters, digits and _, does not begin with a digit, and has at most 64 "
      "characters; rename it";
  EXPECT_EQ(add_error(named("")), "tool \"\"" + rule);
  EXPECT_EQ(add_error(named("1a")), "tool \"1a\"" + rule);
  EXPECT_EQ(add_error(named("a-b")), "tool \"a-b\"" + rule);
  EXPECT_EQ(add_error(named("a\n\xff")), "tool \"a\\n\\ufffd\"" + rule);
  EXPECT_EQ(add_error(named(std::string(64, 'a'))), "no error");
  EXPECT_NE(add_error(named(std::string(65, 'a'))), "no error");

  ToolSpec spec = named("f");
  spec.description = "two\nlines";
  EXPECT_EQ(add_error(spec),
            "tool \"f\": its description must be one line of UTF-8 of at most 1024 bytes");
  spec.description = "\xff";
  EXPECT_NE(add_error(spec), "no error");
  spec = named("f");
  spec.timeout = {};
  EXPECT_EQ(add_error(spec), "tool \"f\": its timeout must be from 1 to 86400000 ms");
  spec = named("f");
  spec.estimate = std::chrono::milliseconds::max();
  EXPECT_EQ(add_error(spec), "tool \"f\": its estimate must be from 0 to 86400000 ms");
  spec = named("f");
  spec.parameters = Json::array();
  EXPECT_EQ(add_error(spec),
            "tool \"f\": parameters must be a schema (an object, true or false), got []");
  EXPECT_EQ(add_error(named("f"), nullptr), "tool \"f\": its function is empty");

  Toolbox tools;
  EXPECT_EQ(tools.add(named("f"), ProcessCommand{}).error().message,
            "tool \"f\": its command is empty; name a program");
  EXPECT_EQ(tools.add(named("f"), ProcessCommand{{"a", std::string(1, '\0')}, ""}).error().message,
            "tool \"f\": its command or directory has a zero byte; remove it");
  ASSERT_TRUE(tools.add(named("f"), nothing));
  EXPECT_EQ(tools.add(named("f"), nothing).error().message,
            "tool \"f\": there is already a tool of this name; rename one");
}

TEST(Toolbox, DeliveriesHaveNames) {
  for (const Delivery delivery : {Delivery::interrupt, Delivery::when_idle, Delivery::silent}) {
    EXPECT_EQ(parse_delivery(to_string(delivery)), delivery);
  }
  EXPECT_EQ(parse_delivery("soon").error().message,
            "unknown delivery 'soon': use interrupt, when_idle or silent");
}

TEST(Toolbox, OutcomesHaveNames) {
  EXPECT_EQ(to_string(Outcome::returned), "returned");
  EXPECT_EQ(to_string(Outcome::failed), "failed");
  EXPECT_EQ(to_string(Outcome::timed_out), "timed_out");
  EXPECT_EQ(to_string(Outcome::cancelled), "cancelled");
}

class Manifest : public testing::Test {
 protected:
  Manifest() { files_.write("bin/prog", "#!/bin/sh\n"); }

  std::string write(const std::string& text) const { return files_.write("tools.json", text); }

  // The error without the file's path, which it must begin with.
  std::string error(const std::string& text) {
    const std::string path = write(text);
    Toolbox tools;
    EXPECT_TRUE(tools.add(named("taken"), nothing));
    auto loaded = tools.load_manifest(path);
    if (loaded) return "no error";
    EXPECT_EQ(tools.specs().size(), 1U) << "all or nothing";
    EXPECT_TRUE(loaded.error().message.starts_with(path + ": ")) << loaded.error().message;
    return loaded.error().message.substr(path.size() + 2);
  }

  // A manifest whose second tool has these members.
  std::string error_of_tool(const std::string& members) {
    return error(R"({"tools": [{"name": "good", "command": ["true"]}, {)" + members + "}]}");
  }

  TemporaryFolder files_;
  std::string folder_ = files_.path();
};

TEST_F(Manifest, LoadsTools) {
  const std::string path = write(R"({"tools": [
    {"name": "first", "description": "the first", "command": ["bin/prog", "a/b"],
     "directory": "bin/..", "estimate_ms": 250, "timeout_ms": 2000,
     "delivery": "when_idle", "idempotent": true,
     "parameters": {"type": "object", "properties": {"z": {"type": "string"}, "a": {}}}},
    {"name": "second", "command": ["true"]}]})");
  Toolbox tools;
  auto loaded = tools.load_manifest(path);
  ASSERT_TRUE(loaded) << loaded.error().message;
  ASSERT_EQ(tools.specs().size(), 2U);
  const ToolSpec first = tools.specs()[0];
  EXPECT_EQ(first.name, "first");
  EXPECT_EQ(first.description, "the first");
  EXPECT_EQ(first.estimate.count(), 250);
  EXPECT_EQ(first.timeout.count(), 2000);
  EXPECT_EQ(first.delivery, Delivery::when_idle);
  EXPECT_TRUE(first.idempotent);
  EXPECT_EQ(tools.specs()[1].delivery, Delivery::interrupt);
  EXPECT_FALSE(tools.specs()[1].idempotent);
  EXPECT_EQ(first.parameters["properties"].dump(), R"({"z":{"type":"string"},"a":{}})");
  const auto& program = std::get<Toolbox::Impl::Program>(tools.impl().entries[0].run);
  EXPECT_EQ(program.command.argv, (std::vector<std::string>{folder_ + "/bin/prog", "a/b"}));
  EXPECT_TRUE(fs::equivalent(program.command.directory, folder_));
  EXPECT_EQ(program.shown, "bin/prog");
  const auto& second = std::get<Toolbox::Impl::Program>(tools.impl().entries[1].run);
  EXPECT_EQ(second.command.argv, std::vector<std::string>{"true"});
  EXPECT_TRUE(fs::equivalent(second.command.directory, folder_));
}

TEST_F(Manifest, ErrorsNameTheFile) {
  Toolbox tools;
  EXPECT_EQ(tools.load_manifest("/no/such.json").error().message,
            "/no/such.json: there is no such manifest file");
  EXPECT_EQ(tools.load_manifest("/no/such.json").error().code, ErrorCode::not_found);
  EXPECT_EQ(tools.load_manifest(folder_).error().message, folder_ + ": is not a file");
  EXPECT_EQ(error(std::string(2'000'000, ' ')), "has 2000000 bytes, a manifest at most 1048576");
  EXPECT_TRUE(error("{\"tools\": [}").starts_with("parse error at line 1, column 12:"));
  EXPECT_NE(error(""), "no error");
  EXPECT_NE(error("\"\xff\""), "no error");
  EXPECT_EQ(error("[]"), "a manifest is an object with a list \"tools\"");
  EXPECT_EQ(error(R"({"tools": {}})"), "a manifest is an object with a list \"tools\"");
  EXPECT_EQ(error(R"({"tools": [], "version": 1})"),
            "unknown key \"version\"; a manifest has only \"tools\"");
  EXPECT_EQ(error(R"({"tools": [], "tools": []})"),
            "the key \"tools\" stands twice in one object; remove one");
  EXPECT_EQ(error(std::string(500'000, '[')), "is nested deeper than 48 levels; flatten it");
}

TEST_F(Manifest, ErrorsNameToolAndField) {
  EXPECT_EQ(error(R"({"tools": [3]})"), "tools[0]: must be an object, got 3");
  EXPECT_EQ(error_of_tool(""), "tools[1]: \"name\" is missing; add it");
  EXPECT_EQ(error_of_tool(R"("name": 3)"), "tools[1]: \"name\" must be a string, got 3");
  const auto of_f = [&](const std::string& members) {
    const std::string prefix = "tools[1]: tool \"f\": ";
    const std::string message = error_of_tool(R"("name": "f", )" + members);
    EXPECT_TRUE(message.starts_with(prefix)) << message;
    return message.substr(std::min(prefix.size(), message.size()));
  };
  EXPECT_EQ(of_f(R"("cmd": ["true"])"),
            "unknown key \"cmd\"; a tool has name, description, parameters, estimate_ms, "
            "timeout_ms, delivery, idempotent, command and directory");
  EXPECT_EQ(of_f(R"("description": "d")"),
            "\"command\" is missing; add [\"program\", \"argument\", ...]");
  for (const char* command : {"\"true\"", "[]", "[\"\"]", "[\"true\", 1]"}) {
    EXPECT_EQ(
        of_f(std::string("\"command\": ") + command),
        std::string("\"command\" must be a list of strings that begins with a program, got ") +
            (command == std::string("[\"true\", 1]") ? "[\"true\",1]" : command));
  }
  EXPECT_EQ(of_f(R"("command": ["bin/none"])"),
            "\"command\": there is no program \"bin/none\" (relative to the manifest's folder)");
  EXPECT_EQ(of_f(R"("command": ["true"], "directory": "none")"),
            "\"directory\": there is no folder \"none\" (relative to the manifest's folder)");
  EXPECT_EQ(of_f(R"("command": ["true"], "directory": 1)"),
            "\"directory\" must be a string, got 1");
  EXPECT_EQ(of_f(R"("command": ["true"], "description": 1)"),
            "\"description\" must be a string, got 1");
  for (const char* time : {"0", "-1", "1.5", "\"1\"", "86400001", "18446744073709551615", "null"}) {
    EXPECT_EQ(of_f(std::string(R"("command": ["true"], "timeout_ms": )") + time),
              std::string("\"timeout_ms\" must be a whole number of milliseconds from 1 to "
                          "86400000, got ") +
                  time);
  }
  EXPECT_EQ(of_f(R"("command": ["true"], "delivery": "soon")"),
            "\"delivery\" must be interrupt, when_idle or silent, got \"soon\"");
  EXPECT_EQ(of_f(R"("command": ["true"], "delivery": 1)"),
            "\"delivery\" must be interrupt, when_idle or silent, got 1");
  EXPECT_EQ(of_f(R"("command": ["true"], "idempotent": "yes")"),
            "\"idempotent\" must be true or false, got \"yes\"");
  EXPECT_EQ(of_f(R"("command": ["true"], "estimate_ms": -1)"),
            "\"estimate_ms\" must be a whole number of milliseconds from 0 to 86400000, got -1");
  EXPECT_EQ(of_f(R"("command": ["true"], "parameters": {"type": "object", "properties": []})"),
            "parameters.properties must be an object, got []");
  EXPECT_EQ(of_f(R"("command": ["true"], "description": "a\nb")"),
            "its description must be one line of UTF-8 of at most 1024 bytes");
  EXPECT_TRUE(error_of_tool(R"("name": "f g", "command": ["true"])")
                  .starts_with("tools[1]: tool \"f g\": a name has"));
  EXPECT_EQ(error_of_tool(R"("name": "good", "command": ["true"])"),
            "tools[1]: tool \"good\": there is already a tool of this name; rename one");
  EXPECT_EQ(error_of_tool(R"("name": "taken", "command": ["true"])"),
            "tools[1]: tool \"taken\": there is already a tool of this name; rename one");
}

}  // namespace
}  // namespace asynclm
