// libfuse3's low-level API, at the version whose session loop takes a configuration object.
#define FUSE_USE_VERSION 314
#include <fuse_lowlevel.h>
