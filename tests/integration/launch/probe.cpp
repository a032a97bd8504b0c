// Speaks for the launch layer's torch- and driver-free parts:
//   probe rank ARCH MAJOR MINOR     the rank of an architecture's cubins on a GPU
//   probe read ARCHIVE MEMBER       the member's bytes, or "error: ..." and exit code 3
#include <cstdio>
#include <cstdlib>
#include <string>

#include "arch.h"
#include "archive.h"

int main(int count, char** words) {
  const std::string verb = count > 1 ? words[1] : "";
  if (verb == "rank" && count == 5) {
    std::printf("%d\n", sage::arch_rank(words[2], std::atoi(words[3]), std::atoi(words[4])));
    return 0;
  }
  if (verb == "read" && count == 4) {
    try {
      const std::vector<char> bytes = sage::Archive(words[2]).read(words[3]);
      std::fwrite(bytes.data(), 1, bytes.size(), stdout);
      return 0;
    } catch (const sage::Error& error) {
      std::printf("error: %s", error.what());
      return 3;
    }
  }
  return 2;
}
