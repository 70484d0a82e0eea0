// SPDX-License-Identifier: Apache-2.0
// Where the default model and the demo are: in the checkout that the program was built in, in the
// prefix that it was installed to, or in the current folder.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include <asynclm/error.h>

namespace asynclm {

// Files that could be meant, in the order in which they are tried. `file` is relative to a checkout
// ("models/x.gguf"), `installed` to PREFIX/share/asynclm; empty: it is not installed.
[[nodiscard]] std::vector<std::filesystem::path> asset_places(
    const std::filesystem::path& program, const std::filesystem::path& current_folder,
    const std::string& file, const std::string& installed);

// The file of the model that is named by `given` (--model), else by $ASYNCLM_MODEL, else the
// default model. A name of the model store (docs/models.md) is downloaded if it is not there, with
// the progress on standard error; `stop_wanted` is asked meanwhile and may be empty. The error
// lists where it looked.
[[nodiscard]] Result<std::string> find_model(const std::optional<std::string>& given,
                                             const std::function<bool()>& stop_wanted = {});

// demo/tools.json; demo/task.txt lies beside it.
[[nodiscard]] Result<std::string> find_demo_tools();
[[nodiscard]] Result<std::string> read_demo_task(const std::string& demo_tools);

}  // namespace asynclm
