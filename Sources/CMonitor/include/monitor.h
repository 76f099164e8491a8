// A lock that can be waited on: a POSIX mutex and a condition variable in one object.
//
// Swift's `Synchronization` has a mutex but nothing to wait on, and its mutex inherits priorities,
// which makes it several times slower than this one when threads fight for it.
#pragma once

typedef struct ext4_monitor ext4_monitor;

/// Makes a monitor; NULL when there is no memory.
ext4_monitor *_Nullable ext4_monitor_create(void);
void ext4_monitor_destroy(ext4_monitor *_Nonnull monitor);
void ext4_monitor_lock(ext4_monitor *_Nonnull monitor);
void ext4_monitor_unlock(ext4_monitor *_Nonnull monitor);
/// Unlocks, waits for a broadcast, locks again. It may return without one.
void ext4_monitor_wait(ext4_monitor *_Nonnull monitor);
void ext4_monitor_broadcast(ext4_monitor *_Nonnull monitor);

/// A lock that many may hold to look and one to change.
typedef struct ext4_shared_lock ext4_shared_lock;

/// Makes a lock; NULL when there is no memory.
ext4_shared_lock *_Nullable ext4_shared_lock_create(void);
void ext4_shared_lock_destroy(ext4_shared_lock *_Nonnull lock);
void ext4_shared_lock_read(ext4_shared_lock *_Nonnull lock);
void ext4_shared_lock_write(ext4_shared_lock *_Nonnull lock);
void ext4_shared_lock_unlock(ext4_shared_lock *_Nonnull lock);
