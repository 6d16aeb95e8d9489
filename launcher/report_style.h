// The report page's looks and its one small script.
#pragma once

namespace shardit {

extern const char* const kReportStyle;
extern const char* const kReportScript;

}  // namespace shardit
