// SPDX-License-Identifier: Apache-2.0
// What the Hugging Face hub (or a server that speaks its protocol) says about repositories.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <asynclm/error.h>

#include "models/gguf_choice.h"
#include "models/http.h"
#include "models/retries.h"

namespace asynclm {

struct HubFile {
  std::string commit = {};
  std::string etag = {};  // as a file name (etag_name)
  std::uint64_t size = 0;
  std::string sha256 = {};  // empty: a small file, of which the hub gives no SHA-256
};

class HubApi {
 public:
  // `endpoint` without a slash at its end. The token goes there and nowhere else.
  HubApi(HttpClient& client, std::string endpoint, std::string token, const RetryPolicy& policy)
      : client_(client),
        endpoint_(std::move(endpoint)),
        token_(std::move(token)),
        policy_(policy) {}

  [[nodiscard]] const std::string& endpoint() const { return endpoint_; }
  [[nodiscard]] const std::string& token() const { return token_; }

  // All GGUF files of a repository.
  [[nodiscard]] Result<std::vector<RepoFile>> files(const std::string& repo,
                                                    const std::string& revision,
                                                    PullWatch& watch) const;
  [[nodiscard]] Result<HubFile> file(const std::string& repo, const std::string& revision,
                                     const std::string& file, PullWatch& watch) const;
  [[nodiscard]] std::string file_url(const std::string& repo, const std::string& revision,
                                     const std::string& file) const;

  // What a bad reply means for the user. `file` may be empty.
  [[nodiscard]] Error explain(const HttpReply& reply, const std::string& repo,
                              const std::string& revision, const std::string& file) const;

 private:
  HttpClient& client_;
  std::string endpoint_, token_;
  const RetryPolicy& policy_;
};

}  // namespace asynclm
