// SPDX-License-Identifier: Apache-2.0
#include "models/gguf_info.h"

#include <cstdint>
#include <string>

#include <gtest/gtest.h>

#include "base/test_folder.h"

namespace asynclm {
namespace {

template <class T>
void put(std::string& out, T value) {
  out.append(reinterpret_cast<const char*>(&value), sizeof value);
}
void put_text(std::string& out, const std::string& text) {
  put<std::uint64_t>(out, text.size());
  out += text;
}

std::string small_gguf() {
  constexpr std::uint32_t kU32 = 4, kString = 8, kArray = 9;
  std::string out = "GGUF";
  put<std::uint32_t>(out, 3);
  put<std::uint64_t>(out, 1);  // tensors
  put<std::uint64_t>(out, 5);  // values
  put_text(out, "llama.context_length");
  put(out, kU32);
  put<std::uint32_t>(out, 4096);
  put_text(out, "general.architecture");
  put(out, kString);
  put_text(out, "llama");
  put_text(out, "general.file_type");
  put(out, kU32);
  put<std::uint32_t>(out, 7);
  put_text(out, "tokenizer.ggml.tokens");
  put(out, kArray);
  put(out, kString);
  put<std::uint64_t>(out, 2);
  put_text(out, "a");
  put_text(out, "bc");
  put_text(out, "tokenizer.chat_template");
  put(out, kString);
  put_text(out, "{{ x }}");
  put_text(out, "w");
  put<std::uint32_t>(out, 2);
  put<std::uint64_t>(out, 30);
  put<std::uint64_t>(out, 40);
  put<std::uint32_t>(out, 0);
  put<std::uint64_t>(out, 0);
  return out;
}

TEST(GgufInfo, Reads) {
  const TemporaryFolder folder;
  const auto info = read_gguf_info({folder.write("m.gguf", small_gguf() + "weights")});
  ASSERT_TRUE(info) << info.error().message;
  EXPECT_EQ(info->architecture, "llama");
  EXPECT_EQ(info->quantisation, "Q8_0");
  EXPECT_EQ(info->context_length, 4096U);
  EXPECT_EQ(info->vocabulary, 2U);
  EXPECT_EQ(info->parameters, 1200U);
  EXPECT_EQ(info->chat_template, "{{ x }}");
}

TEST(GgufInfo, EveryCutIsDamage) {
  const TemporaryFolder folder;
  const std::string whole = small_gguf();
  for (std::size_t end = 0; end < whole.size(); ++end) {
    const auto info = read_gguf_info({folder.write("m.gguf", whole.substr(0, end))});
    ASSERT_FALSE(info) << end;
    EXPECT_EQ(info.error().code, ErrorCode::invalid_argument);
  }
}

TEST(GgufInfo, WrongLengthsAreDamage) {
  const TemporaryFolder folder;
  const std::string whole = small_gguf();
  for (std::size_t at = 0; at < whole.size(); ++at) {
    std::string changed = whole;
    changed[at] = '\xff';
    // Reading ends, whatever it finds.
    (void)read_gguf_info({folder.write("m.gguf", changed)});
  }
  EXPECT_FALSE(read_gguf_info({folder.file("missing.gguf")}));
}

}  // namespace
}  // namespace asynclm
