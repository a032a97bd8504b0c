// Calls the operators of kernels/binding/sageattention.cpp with tensors that have no memory, one for each line of standard
// input: "attention B=2 D=64 …", every word optional. After what the driver prints comes a line of JSON with the tensors'
// addresses, what torch allocated and did by itself, and the error. With memory, the words q, k, v, mask.file, cu_q.file and
// cu_k.file name files of a tensor's bytes, and out and lse.file those to write the results to.
#include <cstdio>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <string>

#include "binding/sageattention.cpp"

namespace {

using at::Tensor;

struct Words : std::map<std::string, std::string> {
  std::string text(const char* name, const char* otherwise) const { return count(name) ? at(name) : otherwise; }
  int64_t number(const char* name, int64_t otherwise) const { return count(name) ? std::stoll(at(name)) : otherwise; }
};

at::ScalarType dtype(const std::string& name) {
  return name == "bf16" ? at::kBFloat16 : name == "f32" ? at::kFloat : name == "bool" ? at::kBool
       : name == "i32" ? at::kInt : at::kHalf;
}

c10::Device place(const std::string& name) { return {name == "cpu" ? "cpu" : "cuda", name == "other" ? 1 : 0}; }

/// The address of a file's bytes, or the one given if no file is named.
int64_t contents(const Words& words, const std::string& name, int64_t otherwise) {
  if (!words.count(name)) return otherwise;
  std::ifstream file(words.at(name), std::ios::binary);
  const std::string bytes((std::istreambuf_iterator<char>(file)), {});
  void* memory = std::aligned_alloc(512, (bytes.size() / 512 + 1) * 512);
  std::memcpy(memory, bytes.data(), bytes.size());
  return reinterpret_cast<int64_t>(memory);
}

void write(const Words& words, const std::string& name, const Tensor& tensor) {
  if (words.count(name))
    std::ofstream(words.at(name), std::ios::binary)
        .write(tensor.const_data_ptr<char>(), tensor.numel() * c10::element_size(tensor.scalar_type()));
}

/// [B, H, S, D], or [B, S, H, D] for layout 1, or [S, H, D] for layout 2; `name` prefixes the words meant for it alone.
Tensor rows(const Words& words, const std::string& name, int64_t heads, int64_t tokens, int64_t address) {
  const int64_t layout = words.number("layout", 0), B = words.number((name + ".B").c_str(), words.number("B", 1));
  const int64_t D = words.number((name + ".D").c_str(), words.number("D", 64));
  const int64_t row = D + words.number((name + ".gap").c_str(), 0);
  const bool expanded = words.number((name + ".expanded").c_str(), 0);
  const at::ScalarType type = dtype(words.text((name + ".dtype").c_str(), words.text("dtype", "f16").c_str()));
  const c10::Device device = place(words.text((name + ".device").c_str(), "cuda"));
  address = contents(words, name, address) + words.number((name + ".offset").c_str(), 0);
  const int64_t token = expanded ? 0 : 1;
  if (layout == 2) return Tensor({tokens, heads, D}, {token * heads * row, row, 1}, type, device, address);
  if (layout == 1)
    return Tensor({B, tokens, heads, D}, {tokens * heads * row, token * heads * row, row, 1}, type, device, address);
  return Tensor({B, heads, tokens, D}, {heads * tokens * row, tokens * row, token * row, 1}, type, device, address);
}

std::optional<Tensor> mask(const Words& words, int64_t address) {
  const std::string kind = words.text("mask", "");
  if (kind.empty()) return std::nullopt;
  at::IntArrayRef sizes;
  std::istringstream given(words.text("mask.shape", "1"));
  for (std::string size; std::getline(given, size, 'x');) sizes.push_back(std::stoll(size));
  at::IntArrayRef strides(sizes.size(), 1);
  for (size_t i = sizes.size(); i-- > 1;) strides[i - 1] = strides[i] * sizes[i];
  return Tensor(sizes, strides, dtype(kind), place(words.text("mask.device", "cuda")), address);
}

void call(const std::string& what, const Words& words) {
  const int64_t Hq = words.number("Hq", 2), Hkv = words.number("Hkv", Hq);
  const int64_t Sq = words.number("Sq", 100), Sk = words.number("Sk", Sq), layout = words.number("layout", 0);
  const Tensor q = rows(words, "q", Hq, Sq, 0x10000000), k = rows(words, "k", Hkv, Sk, 0x20000000);
  const Tensor v = rows(words, "v", Hkv, words.number("v.S", Sk), 0x30000000);
  const std::string gran = words.text("gran", "per_thread"), path = words.text("path", "f8_sm90");
  const std::string accum = words.text("accum", "fp32");
  const bool causal = words.number("causal", 0), smooth_k = words.number("smooth_k", 1);
  const bool smooth_v = words.number("smooth_v", 0), lse = words.number("lse", 0);
  const double scale = std::stod(words.text("scale", "0.125"));
  const int64_t block = words.number("block", 128);
  if (what == "attention") {
    const std::optional<Tensor> masked = mask(words, contents(words, "mask.file", 0x40000000));
    const auto made = attention(q, k, v, masked, layout, causal, scale, path, gran, accum, smooth_k, smooth_v, lse);
    write(words, "out", std::get<0>(made)), write(words, "lse.file", std::get<1>(made));
  } else if (what == "attention_varlen") {
    const int64_t count = words.number("sequences", 3) + 1;
    const Tensor cu_q({count}, {1}, dtype(words.text("cu", "i32")), place("cuda"), contents(words, "cu_q.file", 0x50000000));
    const Tensor cu_k({words.number("cu_k", count)}, {1}, at::kInt, place("cuda"), contents(words, "cu_k.file", 0x60000000));
    const auto made = attention_varlen(q, k, v, cu_q, cu_k, words.number("max_q", Sq), words.number("max_k", Sk), causal,
                                       scale, path, gran, accum, smooth_k, lse);
    write(words, "out", std::get<0>(made)), write(words, "lse.file", std::get<1>(made));
  } else if (what == "quantize_k") {
    quantize_k(k, layout, block, gran, smooth_k);
  } else if (what == "quantize_v") {
    quantize_v(v, layout, std::stod(words.text("vmax", "448")), smooth_v);
  } else if (what == "quantize_kv") {
    quantize_kv(k, v, layout, block, gran, smooth_k, std::stod(words.text("vmax", "448")), smooth_v);
  } else {
    std::optional<Tensor> mean;
    if (words.count("mean"))
      mean = Tensor({q.size(0), Hq, 1, q.size(-1)}, {1, 1, 1, 1}, dtype(words.at("mean")), q.device(), 0x70000000);
    quantize_int8(q, mean, layout, block, gran);
  }
}

std::string json(const std::string& text) {
  std::string out = "\"";
  for (const char c : text) out += c == '"' || c == '\\' ? std::string("\\") + c : c == '\n' ? "\\n" : std::string(1, c);
  return out + '"';
}

}  // namespace

int main(int, char** arguments) {
  load(arguments[1]);
  for (std::string line; std::getline(std::cin, line);) {
    std::istringstream words(line);
    std::string what, word, error;
    words >> what;
    Words given;
    while (words >> word) given[word.substr(0, word.find('='))] = word.substr(word.find('=') + 1);
    at::allocated().clear(), at::actions().clear();
    try {
      call(what, given);
    } catch (const c10::ValueError& raised) {
      error = std::string("ValueError: ") + raised.what();
    } catch (const c10::TypeError& raised) {
      error = std::string("TypeError: ") + raised.what();
    } catch (const sage::Error& raised) {
      error = std::string("Error: ") + raised.what();
    }
    std::printf("{\"error\": %s, \"allocated\": {", json(error).c_str());
    const char* comma = "";
    for (const auto& [address, bytes] : at::allocated())
      std::printf("%s\"%lld\": %lld", comma, static_cast<long long>(address), static_cast<long long>(bytes)), comma = ", ";
    std::printf("}, \"actions\": [");
    comma = "";
    for (const std::string& action : at::actions()) std::printf("%s%s", comma, action.c_str()), comma = ", ";
    std::printf("]}\n");
    std::fflush(stdout);
  }
}
