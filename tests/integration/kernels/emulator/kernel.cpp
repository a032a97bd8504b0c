// Any kernel, run on the CPU as the driver is told to: -DSOURCE=\"sage2/…\" and the macros of the instance.
#include SOURCE

#include <utility>

template <class... Params, std::size_t... I>
static void call(void (*kernel)(Params...), void** arguments, std::index_sequence<I...>) {
  kernel(*static_cast<Params*>(arguments[I])...);
}
template <class... Params>
static void call(void (*kernel)(Params...), void** arguments) {
  call(kernel, arguments, std::index_sequence_for<Params...>());
}

/// Returns -1, or the index of the first block that hangs.
extern "C" long long launch(void** arguments, unsigned grid, unsigned threads, unsigned cluster) {
  gridDim.x = grid;
  for (unsigned i = 0; i < grid; i += cluster)
    if (!emulator::run(threads, i, [arguments] { call(ENTRY, arguments); }, cluster)) return i;
  return -1;
}
