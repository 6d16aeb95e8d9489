// What a library of an old version says of itself; nothing else of it is looked at.
extern "C" int ncclGetVersion(int* version) {
  *version = 22105;
  return 0;
}
