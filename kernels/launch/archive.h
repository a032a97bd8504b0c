// Unix ar archives of cubins: members are listed without reading them, and read by offset when asked for.
#pragma once

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <map>
#include <string>
#include <vector>

#include "error.h"

namespace sage {

/// One `sm_XY.ar`. Understands GNU long names (a `//` member; names `/offset`), skips symbol tables.
class Archive {
 public:
  explicit Archive(std::filesystem::path path) : path_(std::move(path)) {
    std::ifstream file = open();
    char magic[8];
    if (!file.read(magic, 8) || std::string(magic, 8) != "!<arch>\n") damaged("it does not start with !<arch>");
    std::string long_names;
    char header[60];
    while (file.read(header, 60)) {
      if (header[58] != '`' || header[59] != '\n') damaged("a member header is out of place");
      std::string name = field(header, 16);
      const uint64_t size = number(field(header + 48, 10));
      const uint64_t begin = static_cast<uint64_t>(file.tellg());
      if (name == "//") {
        long_names.resize(size);
        if (!file.read(&long_names[0], static_cast<std::streamsize>(size))) damaged("its name table is cut off");
      } else if (name != "/" && name != "/SYM64/") {
        if (name.size() > 1 && name[0] == '/') {
          const uint64_t at = number(name.substr(1));
          const size_t end = long_names.find('\n', at);
          if (end == std::string::npos) damaged("a long name is missing");
          name = long_names.substr(at, end - at);
        }
        if (!name.empty() && name.back() == '/') name.pop_back();
        members_[name] = {begin, size};
      }
      file.seekg(static_cast<std::streamoff>(begin + size + (size & 1)));
    }
  }

  bool has(const std::string& name) const { return members_.count(name) != 0; }

  /// The bytes of one member. Throws Error if it is not there or cut off.
  std::vector<char> read(const std::string& name) const {
    const auto found = members_.find(name);
    if (found == members_.end())
      throw Error("kernel " + name + " is not in " + path_.string() +
                  "; the wheel was built without it, reinstall a released wheel");
    std::vector<char> bytes(found->second.size);
    std::ifstream file = open();
    file.seekg(static_cast<std::streamoff>(found->second.begin));
    if (!file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()))) damaged("member " + name + " is cut off");
    return bytes;
  }

 private:
  struct Extent {
    uint64_t begin, size;
  };
  std::filesystem::path path_;
  std::map<std::string, Extent> members_;

  std::ifstream open() const {
    std::ifstream file(path_, std::ios::binary);
    if (!file) throw Error("cannot read " + path_.string() + "; reinstall the package");
    return file;
  }
  [[noreturn]] void damaged(const std::string& why) const {
    throw Error(path_.string() + " is damaged (" + why + "); reinstall the package");
  }
  uint64_t number(const std::string& digits) const {
    uint64_t value = 0;
    for (char c : digits) {
      if (c < '0' || c > '9') damaged("a number in a member header is not decimal");
      value = value * 10 + static_cast<uint64_t>(c - '0');
    }
    return value;
  }
  static std::string field(const char* at, size_t width) {
    std::string text(at, width);
    text.erase(text.find_last_not_of(' ') + 1);
    return text;
  }
};

}  // namespace sage
