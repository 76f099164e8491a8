#include "monitor.h"

#include <pthread.h>
#include <stdlib.h>

struct ext4_monitor {
    pthread_mutex_t mutex;
    pthread_cond_t condition;
};

ext4_monitor *ext4_monitor_create(void) {
    ext4_monitor *monitor = malloc(sizeof *monitor);
    if (monitor == NULL) return NULL;
    pthread_mutex_init(&monitor->mutex, NULL);
    pthread_cond_init(&monitor->condition, NULL);
    return monitor;
}

void ext4_monitor_destroy(ext4_monitor *monitor) {
    pthread_cond_destroy(&monitor->condition);
    pthread_mutex_destroy(&monitor->mutex);
    free(monitor);
}

void ext4_monitor_lock(ext4_monitor *monitor) { pthread_mutex_lock(&monitor->mutex); }
void ext4_monitor_unlock(ext4_monitor *monitor) { pthread_mutex_unlock(&monitor->mutex); }
void ext4_monitor_wait(ext4_monitor *monitor) {
    pthread_cond_wait(&monitor->condition, &monitor->mutex);
}
void ext4_monitor_broadcast(ext4_monitor *monitor) {
    pthread_cond_broadcast(&monitor->condition);
}

struct ext4_shared_lock {
    pthread_rwlock_t lock;
};

ext4_shared_lock *ext4_shared_lock_create(void) {
    ext4_shared_lock *lock = malloc(sizeof *lock);
    if (lock == NULL) return NULL;
    pthread_rwlock_init(&lock->lock, NULL);
    return lock;
}

void ext4_shared_lock_destroy(ext4_shared_lock *lock) {
    pthread_rwlock_destroy(&lock->lock);
    free(lock);
}

void ext4_shared_lock_read(ext4_shared_lock *lock) { pthread_rwlock_rdlock(&lock->lock); }
void ext4_shared_lock_write(ext4_shared_lock *lock) { pthread_rwlock_wrlock(&lock->lock); }
void ext4_shared_lock_unlock(ext4_shared_lock *lock) { pthread_rwlock_unlock(&lock->lock); }
