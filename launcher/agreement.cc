#include "launcher/agreement.h"

#include <algorithm>
#include <fstream>

#include "checkpoints/crc32c.h"
#include "core/error.h"
#include "core/op_card.h"
#include "core/random.h"
#include "launcher/config.h"

namespace shardit {
namespace {

constexpr int kCommunicationFault = 3;  // and not a CommError: the ranks still hear each other

uint64_t hash_of_program() {
  std::ifstream file("/proc/self/exe", std::ios::binary);
  uint64_t bytes = 0;
  uint32_t crc = 0;
  for (std::string slice(1 << 20, '\0'); file.read(slice.data(), std::ssize(slice)), file.gcount() > 0;) {
    crc = crc32c(slice.data(), file.gcount(), crc);
    bytes += static_cast<uint64_t>(file.gcount());
  }
  return bytes << 32 ^ crc;
}

std::string flags_of(const TrainOptions& o) {
  return "run directory " + o.run_dir + ", --steps " + std::to_string(o.steps) + ", --resume " + o.resume +
         ", --resume-proof " + o.resume_proof + ", --override-arithmetic " + (o.override_arithmetic ? "on" : "off") +
         ", --stop-after " + std::to_string(o.stop_after_s) + " s" +
         (o.trace_steps
              ? ", --trace-steps " + std::to_string(o.trace_steps->first) + ":" + std::to_string(o.trace_steps->last)
              : "");
}

// One line per collective of all graphs, in the order of the wire stream.
std::vector<std::string> collectives_of(const CompiledProgram& program) {
  std::vector<std::string> lines;
  for (size_t g = 0; g < program.graphs.size(); ++g) {
    const Graph& graph = program.graphs[g].graph;
    for (const Step& step : program.schedules[g].steps) {
      const Node& node = graph.node(step.node);
      const NodeTypes types = types_of(graph, node);
      if (node.card->cost(types).wire_bytes == 0) continue;
      lines.push_back(program.graphs[g].name + ": " + node.card->name + " of " + types.in[0].str() + ", " +
                      node.attrs->text() + ", " + node.label);
    }
  }
  return lines;
}

void check_config_of_first(const RunConfig& config, const std::string& first) {
  if (resolved_text(config) == first) return;
  const KeyDifference other = differences(parse_config(first, "rank 0"), config).at(0);
  throw UserError("was started with another config than rank 0: " + other.key + " is " +
                  (other.after.empty() ? "not set" : other.after) + ", there it is " +
                  (other.before.empty() ? "not set" : other.before) + "\ngive all ranks the same config and flags");
}

}  // namespace

void check_same_start(Ranks& ranks, const RunConfig& config, const TrainOptions& options) {
  const std::vector<uint64_t> programs = ranks.all("program file", hash_of_program());
  const std::string first_config = ranks.from_first("config", resolved_text(config));
  const std::string first_flags = ranks.from_first("flags", flags_of(options));
  ranks.together("start", [&] {
    REQUIRE(programs[ranks.rank()] == programs[0],
            "runs another shardit than rank 0: the program files differ\ninstall the same build on every node");
    check_config_of_first(config, first_config);
    REQUIRE(flags_of(options) == first_flags, "was started with other flags than rank 0: " + flags_of(options) +
                                                  "; there: " + first_flags + "\ngive all ranks the same command");
  });
}

void check_same_data(Ranks& ranks, const std::string& which, const std::string& fingerprint) {
  const std::string first = ranks.from_first("data", fingerprint);
  ranks.together("data", [&] {
    REQUIRE(fingerprint == first, "reads other " + which + " data than rank 0: " + fingerprint + "; there: " + first +
                                      "\nfix: give every node the same files under data.path");
  });
}

void check_same_collectives(Ranks& ranks, const CompiledProgram& program) {
  std::string mine;
  for (const std::string& line : collectives_of(program)) mine += line + "\n";
  const std::vector<uint64_t> hashes = ranks.all("order of collectives", hash_name(mine));
  if (std::all_of(hashes.begin(), hashes.end(), [&](uint64_t h) { return h == hashes[0]; })) return;
  const std::string first = ranks.from_first("collectives", mine);
  ranks.together("order of collectives", [&] {
    if (mine == first) return;
    const auto [here, there] = std::mismatch(mine.begin(), mine.end(), first.begin(), first.end());
    const auto line_at = [](const std::string& text, size_t at) {
      const size_t begin = at == 0 ? 0 : text.rfind('\n', at - 1) + 1;
      return text.substr(begin, text.find('\n', begin) - begin);
    };
    throw Error("would call other collectives than rank 0: '" + line_at(mine, here - mine.begin()) + "', there '" +
                    line_at(first, there - first.begin()) + "'\nthis is a bug in shardit",
                kCommunicationFault);
  });
}

}  // namespace shardit
