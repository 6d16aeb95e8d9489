// A disk that takes its time: loaded in front of the C library, every fsync takes another 0.9 seconds.
#include <dlfcn.h>
#include <unistd.h>

extern "C" int fsync(int file) {
  static const auto real = reinterpret_cast<int (*)(int)>(dlsym(RTLD_NEXT, "fsync"));
  usleep(900'000);
  return real(file);
}
