/* Preloaded into a Redis server (LD_PRELOAD), it makes two things of each append-only file that is brought to its disk:
   slow, where SLOW_DISK names a file with the microseconds (int64) that it takes; and known: beside it lies NAME.synced,
   with the size up to which it surely is there. Cut off at that, files are as a power cut leaves them at the worst. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void write_down(const char *path, long long size) {
    char name[4200], text[32];
    snprintf(name, sizeof name, "%s.synced", path);
    int note = open(name, O_WRONLY | O_CREAT, 0600);
    if (note < 0)
        return;
    int written = snprintf(text, sizeof text, "%20lld", size);
    if (pwrite(note, text, (size_t)written, 0) != written)
        unlink(name);
    close(note);
}

static void take_time(void) {
    const char *name = getenv("SLOW_DISK");
    int64_t microseconds = 0;
    int file = name ? open(name, O_RDONLY) : -1;
    if (file < 0)
        return;
    if (read(file, &microseconds, sizeof microseconds) == sizeof microseconds && microseconds > 0)
        usleep((useconds_t)microseconds);
    close(file);
}

static int bring(long how, int file) {
    struct stat before;
    char link[64], path[4096] = "";
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    int is_ours = fstat(file, &before) == 0 && S_ISREG(before.st_mode) && readlink(link, path, sizeof path - 1) > 0 &&
                  strstr(path, "/appendonlydir/");
    if (is_ours)
        take_time();
    int failed = (int)syscall(how, file);
    if (!failed && is_ours)
        write_down(path, (long long)before.st_size);
    return failed;
}

int fsync(int file) {
    return bring(SYS_fsync, file);
}

int fdatasync(int file) {
    return bring(SYS_fdatasync, file);
}
