/* Preloaded into a Redis server (LD_PRELOAD): beside each file that it brings to its disk lies NAME.synced, with the size
   up to which it surely is there. Cut off at that, files are as a power cut leaves them at the worst. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

static void write_down(int file, long long size) {
    char link[64], path[4096], text[32];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = readlink(link, path, sizeof path - sizeof ".synced");
    if (length <= 0)
        return;
    snprintf(path + length, sizeof ".synced", ".synced");
    int note = open(path, O_WRONLY | O_CREAT, 0600);
    if (note < 0)
        return;
    int written = snprintf(text, sizeof text, "%20lld", size);
    if (pwrite(note, text, (size_t)written, 0) != written)
        unlink(path);
    close(note);
}

static int bring(long how, int file) {
    struct stat before;
    int is_file = fstat(file, &before) == 0 && S_ISREG(before.st_mode);
    int failed = (int)syscall(how, file);
    if (!failed && is_file)
        write_down(file, (long long)before.st_size);
    return failed;
}

int fsync(int file) {
    return bring(SYS_fsync, file);
}

int fdatasync(int file) {
    return bring(SYS_fdatasync, file);
}
