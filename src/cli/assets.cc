// SPDX-License-Identifier: Apache-2.0
#include "cli/assets.h"

#include <cstdlib>
#include <fstream>
#include <iterator>
#include <system_error>

#include "cli/pull_display.h"
#include "models/store.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;

bool is_file(const fs::path& path) {
  std::error_code ignored;
  return fs::is_regular_file(path, ignored);
}

Result<std::string> find(const std::string& what, const std::string& file,
                         const std::string& installed, const std::string& advice) {
  std::error_code ignored;
  const fs::path program = fs::read_symlink("/proc/self/exe", ignored);
  const std::vector<fs::path> places =
      asset_places(program, fs::current_path(ignored), file, installed);
  std::string looked;
  for (const fs::path& place : places) {
    if (is_file(place)) return place.string();
    looked += "\n  " + place.string();
  }
  return fail(ErrorCode::not_found, what + " was not found; " + advice + ". Looked at:" + looked);
}

// `source` says in errors who named it.
Result<std::string> obtain_model(const std::string& name, const std::string& source,
                                 const std::function<bool()>& stop_wanted) {
  if (is_file(name)) return name;
  const auto with_source = [&](const Error& error) {
    return std::unexpected(Error{error.code, source + ": " + error.message, error.retry_after});
  };
  Result<Store> store = Store::open(store_options_from_environment());
  if (!store) return with_source(store.error());
  PullDisplay display(name, stop_wanted);
  const Result<ModelFile> model = store->resolve(name, display.events());
  display.clear();
  if (!model) return with_source(model.error());
  return model->path();
}

}  // namespace

std::vector<fs::path> asset_places(const fs::path& program, const fs::path& current_folder,
                                   const std::string& file, const std::string& installed) {
  std::vector<fs::path> places;
  const auto add = [&](const fs::path& place) {
    for (const fs::path& known : places) {
      if (known == place) return;
    }
    places.push_back(place);
  };
  if (program.has_parent_path()) {
    const fs::path folder = program.parent_path();
    // build/PRESET/asynclm lies two below the checkout.
    constexpr int kLevels = 3;
    fs::path above = folder;
    for (int level = 0; level < kLevels && above.has_relative_path(); ++level) {
      add(above / file);
      above = above.parent_path();
    }
    if (!installed.empty()) add(folder.parent_path() / "share" / "asynclm" / installed);
  }
  add(current_folder / file);
  return places;
}

Result<std::string> find_model(const std::optional<std::string>& given,
                               const std::function<bool()>& stop_wanted) {
  if (given) return obtain_model(*given, "--model", stop_wanted);
  const char* variable = std::getenv("ASYNCLM_MODEL");
  if (variable != nullptr && *variable != '\0') {
    return obtain_model(variable, "ASYNCLM_MODEL", stop_wanted);
  }
  return obtain_model(std::string(kDefaultModelName), "the default model", stop_wanted);
}

Result<std::string> find_demo_tools() {
  // Not installed: its task is about the files of the checkout.
  return find("the demo", "demo/tools.json", "", "give a task and --tools");
}

Result<std::string> read_demo_task(const std::string& demo_tools) {
  const fs::path path = fs::path(demo_tools).parent_path() / "task.txt";
  std::ifstream file(path);
  std::string task(std::istreambuf_iterator<char>(file), {});
  while (!task.empty() && (task.back() == '\n' || task.back() == ' ')) task.pop_back();
  if (file.bad() || task.empty()) {
    return fail(ErrorCode::not_found, "the demo's task cannot be read from " + path.string());
  }
  return task;
}

}  // namespace asynclm
