// SPDX-License-Identifier: Apache-2.0
// Finds the calls in what a model writes, in any family's form, while it is written. Only calls
// that name a declared tool and fit its schema are calls; what merely looks so is text.
//
// Marked calls are reported with their last byte wherever that byte decides. What a whole answer
// decides (bare objects, fences, a call that ends the reasoning) is reported by finish(). How the
// bytes are cut makes no difference. Any bytes are accepted; time is linear in their number.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <asynclm/protocol.h>

#include "dialect/forms.h"
#include "dialect/reader_task.h"
#include "dialect/reader_tools.h"

namespace asynclm::dialect {

struct ReaderOptions {
  // What the model's own template has. All forms are read whatever it is; this decides where the
  // rules tell families apart.
  enum class Template : std::uint8_t {
    marks,
    no_mark,     // Llama 3: the object that opens an answer is a call even when prose follows
    action,      // Command R: "Action:" and a fence, behind text too
    recipients,  // harmony: nothing without a recipient or mark is a call
  };
  Template own = Template::marks;
  // The prompt ended inside the reasoning.
  bool reasoning_open = false;
  // Calls in forms that are not the template's own. Without them only marks of `own_marks` (texts
  // of forms.h) open a call; of no_mark and recipients, the template's form.
  bool habits = true;
  std::vector<std::string> own_marks;
  // An unfinished call that grows beyond this is text.
  std::size_t max_call_bytes = std::size_t{4} << 20;
};

// All offsets are in bytes from the answer's first.
struct TextRead {
  std::string bytes;
};
struct ReasoningRead {
  std::string bytes;
};
// From `offset` on something may be a call: its bytes are held back.
struct CallBegan {
  std::size_t offset;
};
// It was none; its bytes follow as text.
struct CallDropped {
  std::size_t offset;
};
// The name of a call that is being written is complete, and declared. `offset` is where its form
// began (the offset of CallBegan), `tool` its index.
struct CallNamed {
  std::size_t offset;
  std::size_t tool;
  CallForm form;
  std::string_view mark;  // the opening mark; "```json", empty where there is none
  bool in_reasoning;
};
struct CallRead {
  std::size_t tool;
  std::string name;            // the tool's, whatever was written around it
  Json arguments;              // as JSON holds them
  std::string arguments_text;  // JSON, with numbers digit by digit
  std::size_t begin, end;      // of the call's own text
  CallForm form;
  std::string_view mark;
};
// A complete marked call that may not be run; its bytes are text unless others of its block are
// run.
struct CallRefused {
  enum class Reason : std::uint8_t { unknown_tool, bad_arguments };
  Reason reason;
  std::string name;  // as written
  std::size_t begin, end;
};

using ReaderEvent =
    std::variant<TextRead, ReasoningRead, CallBegan, CallDropped, CallNamed, CallRead, CallRefused>;

class CallReader {
 public:
  // `tools` must outlive the reader.
  CallReader(std::span<const ToolSpec> tools, FitsSchema fits, ReaderOptions options = {});
  ~CallReader();
  CallReader(CallReader&&) noexcept;
  CallReader& operator=(CallReader&&) noexcept;

  void feed(std::string_view bytes);
  // The answer is over; once. Nothing may be fed after it.
  void finish(Ending ending = Ending::unknown);

  // What has become certain since the last time, in the order in which it did. Calls that finish()
  // reports may stand before others that were reported at once: their offsets tell.
  [[nodiscard]] std::vector<ReaderEvent> take();

  // Takes back what was fed from the offset of the last CallBegan on, as if it had not been
  // written: other bytes may be fed in its place. False where that is not held back any more.
  bool take_back(std::size_t offset);

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace asynclm::dialect
