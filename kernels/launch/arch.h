// Which cubins run on which GPU (PTX ISA, ".target": architecture- and family-specific targets).
#pragma once

#include <string>

namespace sage {

/// "sm_90a" → 90, 'a'. Returns false for anything else.
inline bool parse_arch(const std::string& arch, int& number, char& suffix) {
  if (arch.compare(0, 3, "sm_") != 0) return false;
  number = 0;
  size_t at = 3;
  for (; at < arch.size() && arch[at] >= '0' && arch[at] <= '9'; ++at) number = number * 10 + (arch[at] - '0');
  suffix = at < arch.size() ? arch[at++] : '\0';
  return number >= 10 && at == arch.size() && (suffix == '\0' || suffix == 'a' || suffix == 'f');
}

/// How well cubins of `arch` suit a device: 0 not at all; 'a' runs on its own capability alone, 'f' and plain ones on
/// the same major with an equal or higher minor. Among those that run, 'a' before 'f' before plain, then the newest.
inline int arch_rank(const std::string& arch, int major, int minor) {
  int number = 0;
  char suffix = '\0';
  if (!parse_arch(arch, number, suffix) || number / 10 != major) return 0;
  const int gap = minor - number % 10;
  if (gap < 0 || (suffix == 'a' && gap != 0)) return 0;
  return (suffix == 'a' ? 300 : suffix == 'f' ? 200 : 100) - gap;
}

}  // namespace sage
