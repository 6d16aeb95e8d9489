#include "launcher/run_start.h"

#include "launcher/config.h"
#include "launcher/format.h"
#include "launcher/machine.h"
#include "launcher/memory_check.h"

namespace shardit {

void tell_start(RunLog& log, int64_t step, const RunStart& start) {
  const MemoryPlan& memory = start.program.memory();
  const int64_t parameters = start.setup.layout.parameters(), stage = start.setup.sharding.stage;
  Json plan = Json::array();
  for (const ClassBytes& row : class_bytes(memory)) plan.push_back({{"class", row.name}, {"bytes", row.bytes}});
  log.event("start", step,
            {{"ranks", start.ranks},
             {"zero_stage", stage},
             {"device", start.device},
             {"threads", start.threads},
             {"parameters", parameters},
             {"config", resolved_text(start.config)},
             {"environment", machine_json(start.run_dir)},
             {"plan", plan},
             {"planned_bytes", memory.arena_bytes},
             {"allocated_bytes", start.program.allocated_bytes()}});
  const bool alone = start.ranks == 1;
  const std::string threads = std::to_string(start.threads) + " compute threads";
  log.say(
      "model: " + format_count(static_cast<double>(parameters)) + " parameters | data: " + start.data.name() + ", " +
      std::to_string(start.data.size()) + " images | " +
      (alone ? threads
             : std::to_string(start.ranks) + " ranks, ZeRO stage " + std::to_string(stage) + ", " + threads + " each"));
  log.say("memory: planned " + std::to_string(memory.arena_bytes) + " bytes, allocated " +
          std::to_string(start.program.allocated_bytes()) + " bytes" + (alone ? "" : " per rank") + " (" +
          class_table(memory) + ")");
}

}  // namespace shardit
