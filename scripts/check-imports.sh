#!/bin/bash
# The machine's state is a function of configuration, media and events. So no
# object of it may call what gives a clock, randomness, a socket, the locale or
# the environment, or touch files.
#
#   scripts/check-imports.sh LIBRARY...
set -u
clock='time clock gettimeofday clock_gettime clock_getres clock_nanosleep
       nanosleep usleep sleep alarm setitimer timer_create timerfd_create
       localtime localtime_r gmtime gmtime_r mktime timegm strftime ftime times
       getrusage'
random='rand rand_r srand random srandom drand48 lrand48 mrand48 getrandom
        getentropy arc4random arc4random_buf arc4random_uniform uuid_generate'
socket='socket connect accept accept4 bind listen send sendto sendmsg recv
        recvfrom recvmsg poll ppoll select pselect epoll_create epoll_wait
        getaddrinfo gethostbyname socketpair'
files='open openat open64 creat fopen fopen64 freopen fdopen read write pread
       pwrite pread64 pwrite64 printf puts putchar fprintf vfprintf fputs fputc
       fwrite fread fgets getline perror stat lstat fstat mkdir unlink ioctl
       pipe fork vfork execve system popen stdin stdout stderr'
host='getenv secure_getenv setlocale getpid gettid getuid gethostname uname
      sysconf sched_yield sched_getcpu pthread_create environ syscall'

# The JIT thread works on copies and its results never show: when they come
# changes how fast the guest runs, and nothing else.
allowed='pthread_create t2_thread.o:'

imports=$(nm -u "$@" 2>/dev/null |
    awk '/:$/ { object = $1 } $1 == "U" { print $2, object }' |
    sed 's/@[^ ]*//' | grep -vxF "$allowed")
bad=0
for name in $clock $random $socket $files $host; do
    # _FORTIFY_SOURCE spells a function __NAME_chk.
    where=$(grep -E "^(__)?$name(_chk)? " <<<"$imports") || continue
    echo "$where"
    bad=1
done
if [ $bad = 1 ]; then
    echo "check-imports: what the outside knows is imported (above)"
    exit 1
fi
echo "check-imports: no clock, random source, socket or file"
