// The charts of a run, from its metrics. Used by report_page.cc.
#pragma once

#include <string>

#include "launcher/metrics.h"

namespace shardit {

std::string quality_charts(const MetricsFile& metrics);  // loss, validation loss, gradient norm, learning rate
std::string speed_charts(const MetricsFile& metrics);    // throughput, where a step's time goes, MFU
std::string memory_charts(const MetricsFile& metrics);   // planned by class, and used

// The newest event of this name; null if there is none.
const Json* last_event(const MetricsFile& metrics, const std::string& name);

}  // namespace shardit
