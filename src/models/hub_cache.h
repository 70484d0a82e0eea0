// SPDX-License-Identifier: Apache-2.0
// The folder in which huggingface_hub, llama.cpp and others keep what they downloaded:
//   models--ORG--REPO/blobs/ETAG                   a file's bytes; big files: ETAG is their SHA-256
//   models--ORG--REPO/snapshots/COMMIT/PATH        a relative link to a blob
//   models--ORG--REPO/refs/main                    a COMMIT
//   .locks/models--ORG--REPO/ETAG.lock             held with flock() by who downloads it
// What we download is kept the same way, so each finds the other's files. A part of a download is
// blobs/ETAG.incomplete. Files from other servers are kept likewise in a folder of our own.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <asynclm/error.h>

namespace asynclm {

// A GGUF file of a snapshot.
struct CachedFile {
  std::string path = {};             // in the repository
  std::filesystem::path place = {};  // in the snapshot
  std::filesystem::path blob = {};   // where its bytes are; `place` on file systems without links
  std::uint64_t size = 0;
  std::string commit = {};
  // What the blob's name says; empty: it says nothing.
  [[nodiscard]] std::string sha256() const;
};

// Part of a download that was broken off.
struct CachedPart {
  std::string etag = {};
  std::filesystem::path place = {};
  std::uint64_t size = 0;
};

// One repository's folder. It need not exist.
class CachedRepo {
 public:
  CachedRepo(std::filesystem::path root, std::string folder);

  [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }
  [[nodiscard]] std::filesystem::path blob(const std::string& etag) const;
  [[nodiscard]] std::filesystem::path partial(const std::string& etag) const;
  [[nodiscard]] std::filesystem::path lock(const std::string& etag) const;

  // Commits that may have what `revision` means, likeliest first: of "main" also all other
  // snapshots, the newest first.
  [[nodiscard]] std::vector<std::string> commits(const std::string& revision) const;
  // The GGUF files whose bytes are there.
  [[nodiscard]] std::vector<CachedFile> files(const std::string& commit) const;
  [[nodiscard]] std::vector<CachedPart> parts() const;

  // Makes the folders for blob, partial and lock.
  [[nodiscard]] Result<void> prepare() const;
  // Links the blob into a snapshot and returns the place there.
  [[nodiscard]] Result<std::filesystem::path> link(const std::string& commit,
                                                   const std::string& file,
                                                   const std::string& etag) const;
  // `always` false: only where there is no such reference yet.
  [[nodiscard]] Result<void> set_ref(const std::string& revision, const std::string& commit,
                                     bool always) const;

  // Takes the file out of all snapshots, and its bytes unless another file has the same ones. The
  // whole folder goes with the last file. Returns the bytes that became free.
  [[nodiscard]] Result<std::uint64_t> remove(const std::string& file) const;
  // Removes the part of a download; bytes that became free.
  [[nodiscard]] Result<std::uint64_t> remove_part(const CachedPart& part) const;

 private:
  [[nodiscard]] std::vector<std::string> snapshots() const;
  void remove_if_empty() const;

  std::filesystem::path root_, folder_;
  std::string name_;
};

class HubCache {
 public:
  explicit HubCache(std::filesystem::path root) : root_(std::move(root)) {}

  [[nodiscard]] const std::filesystem::path& root() const { return root_; }
  [[nodiscard]] CachedRepo repo(std::string_view name) const;  // ORG/REPO
  [[nodiscard]] std::vector<std::string> repos() const;        // names, sorted
  // Folders of other names, for files that are not of the hub.
  [[nodiscard]] CachedRepo folder(const std::string& name) const { return {root_, name}; }
  [[nodiscard]] std::vector<std::string> folders() const;

 private:
  std::filesystem::path root_;
};

// An ETag as the name of a file: no quotes, no "W/". One that could not be a name becomes a hash.
[[nodiscard]] std::string etag_name(std::string_view etag);
[[nodiscard]] bool is_commit(std::string_view text);

}  // namespace asynclm
