// SPDX-License-Identifier: Apache-2.0
// A first measurement of what the engine's work costs, before anything else uses it.
#pragma once

#include <asynclm/engine.h>
#include <asynclm/error.h>

#include "base/clock.h"
#include "runtime/cost_model.h"

namespace asynclm {

// Appends to a sequence of its own, longer and longer pieces as long as the next one should end
// within `limit`, then saves and restores it, and drops it. Needs a free sequence.
[[nodiscard]] Result<void> measure_costs(Engine& engine, const Clock& clock, Time limit,
                                         CostModel& costs);

}  // namespace asynclm
