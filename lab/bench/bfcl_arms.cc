// SPDX-License-Identifier: Apache-2.0
#include "bench/bfcl_arms.h"

#include <algorithm>
#include <format>
#include <string>

namespace asynclm::bench {

Result<BfclArm> find_bfcl_arm(std::string_view name) {
  const auto arm = std::ranges::find(kBfclArms, name, &BfclArm::name);
  if (arm != kBfclArms.end()) return *arm;
  std::string names;
  for (const BfclArm& one : kBfclArms) names += std::format(" {}", one.name);
  return fail(ErrorCode::invalid_argument,
              std::format("there is no arm '{}', there are:{}", name, names));
}

Result<void> switch_off(std::string_view feature, BfclArm& arm) {
  if (feature == "futures") {
    arm.habits.futures = false;
  } else if (feature == "order") {
    arm.habits.order = false;
  } else if (feature == "waits") {
    arm.habits.waits = false;
  } else if (feature == "forced") {
    arm.jump_forward = false;
  } else if (feature == "drafts") {
    arm.drafts = false;
  } else if (feature == "pauses") {
    arm.delivery = Delivery::interrupt;
  } else if (feature == "path") {
    arm.policy = Policy::lpt;
  } else {
    std::string names;
    for (const std::string_view one : kBfclFeatures) names += std::format(" {}", one);
    return fail(ErrorCode::invalid_argument,
                std::format("there is no feature '{}', there are:{}", feature, names));
  }
  return {};
}

}  // namespace asynclm::bench
