// SPDX-License-Identifier: Apache-2.0
// FTXUI elements as lines that a caller prints itself, without an own screen.
#pragma once

#include <vector>

#include <ftxui/dom/elements.hpp>

#include "cli/frame.h"

namespace asynclm {

// Each element is one row high.
[[nodiscard]] std::vector<FrameLine> draw_rows(ftxui::Elements rows, int columns);

// An element of any height.
[[nodiscard]] std::vector<FrameLine> draw_element(const ftxui::Element& element, int columns,
                                                  int rows);

}  // namespace asynclm
