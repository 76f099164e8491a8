// Seeds the names of fs_mark by process, not by the clock alone.
//
// fs_mark 3.3 names its files by the second and by `random`, which each of its processes seeds with
// the microsecond it started in. Two that start in the same one write the same files, on any file
// system: one run in a hundred then has half of the files that were asked for.

#define _GNU_SOURCE
#include <dlfcn.h>
#include <unistd.h>

void srandom(unsigned seed) {
    void (*original)(unsigned) = (void (*)(unsigned))dlsym(RTLD_NEXT, "srandom");
    // A microsecond takes 20 bits; neighbours differ in the low bits of their process number.
    original(seed | (unsigned)getpid() << 20);
}
