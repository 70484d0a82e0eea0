// SPDX-License-Identifier: Apache-2.0
#include "models/sha256.h"

#include <openssl/evp.h>

#include <algorithm>
#include <array>
#include <utility>

namespace asynclm {

struct Sha256::State {
  State() { restart(); }
  ~State() { EVP_MD_CTX_free(context); }
  State(const State&) = delete;
  State& operator=(const State&) = delete;

  void restart() {
    good = context != nullptr && EVP_DigestInit_ex(context, EVP_sha256(), nullptr) == 1;
  }

  EVP_MD_CTX* context = EVP_MD_CTX_new();
  bool good = false;
};

Sha256::Sha256() : state_(std::make_unique<State>()) {}
Sha256::~Sha256() = default;
Sha256::Sha256(Sha256&&) noexcept = default;
Sha256& Sha256::operator=(Sha256&&) noexcept = default;

void Sha256::add(std::string_view bytes) {
  if (!state_->good) return;
  state_->good = EVP_DigestUpdate(state_->context, bytes.data(), bytes.size()) == 1;
}

std::string Sha256::take_hex() {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  std::string out;
  if (state_->good && EVP_DigestFinal_ex(state_->context, digest.data(), &length) == 1) {
    constexpr std::string_view kDigits = "0123456789abcdef";
    for (unsigned int i = 0; i < length; ++i) {
      out += kDigits[digest[i] >> 4U];
      out += kDigits[digest[i] & 0xFU];
    }
  }
  state_->restart();
  return out;
}

std::string sha256_hex(std::string_view bytes) {
  Sha256 hash;
  hash.add(bytes);
  return hash.take_hex();
}

bool is_sha256_hex(std::string_view text) {
  constexpr std::size_t kDigits = 64;
  return text.size() == kDigits && std::ranges::all_of(text, [](char c) {
           return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f');
         });
}

}  // namespace asynclm
