/* Clocks that run slower, for a process and its children: loaded before the system's library, it
   takes the same lag from every clock and makes every timed wait longer.
   cc -shared -fPIC -o slow_clock.so slow_clock.c -ldl
   SLOW_CLOCK="RATE BEGIN": seconds told per true second, and the true monotonic time from which on [ns]. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <linux/futex.h>
#include <poll.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

static const int64_t SECOND = 1000000000;
static const int64_t FIRST_WALL = 1000000000; /* no machine is up for so many seconds */
static const int64_t LONGEST = INT64_C(1) << 62;
static double rate = 1.0;
static int64_t begin;

typedef struct timespec spec;

#define REAL(type, name, parameters, version)                              \
  static type(*real) parameters;                                           \
  if (!real) real = version[0] ? dlvsym(RTLD_NEXT, #name, version) : dlsym(RTLD_NEXT, #name)

__attribute__((constructor)) static void read_rate(void) {
  const char *words = getenv("SLOW_CLOCK");
  long long since;
  if (!words || sscanf(words, "%lf %lld", &rate, &since) != 2 || !(rate > 0.0 && rate <= 1.0)) {
    fprintf(stderr, "SLOW_CLOCK: \"RATE BEGIN\" is needed, a rate above 0 and at most 1\n");
    _exit(2);
  }
  begin = since;
}

static int64_t as_ns(const spec *t) {
  if (t->tv_sec >= LONGEST / SECOND) return LONGEST;
  return t->tv_sec * SECOND + t->tv_nsec;
}

static spec as_spec(int64_t ns) {
  int64_t part = ns % SECOND;
  return part < 0 ? (spec){ns / SECOND - 1, part + SECOND} : (spec){ns / SECOND, part};
}

static spec of_timeval(struct timeval t) { return (spec){t.tv_sec, t.tv_usec * 1000}; }

static struct timeval as_timeval(int64_t ns) {
  spec t = as_spec(ns);
  return (struct timeval){t.tv_sec, t.tv_nsec / 1000};
}

static int true_time(clockid_t clock, spec *t) {
  REAL(int, clock_gettime, (clockid_t, spec *), "");
  return real(clock, t);
}

/* A clock that tells how late it is, not how much was computed. */
static int runs_with_time(clockid_t clock) {
  return clock >= 0 && clock != CLOCK_PROCESS_CPUTIME_ID && clock != CLOCK_THREAD_CPUTIME_ID;
}

int clock_gettime(clockid_t clock, spec *t) {
  spec now;
  int failed = true_time(clock, t);
  if (failed || !runs_with_time(clock)) return failed;
  true_time(CLOCK_MONOTONIC, &now);
  *t = as_spec(as_ns(t) - (int64_t)((1.0 - rate) * (double)(as_ns(&now) - begin)));
  return 0;
}

static int64_t told(clockid_t clock) {
  spec now;
  clock_gettime(clock, &now);
  return as_ns(&now);
}

static int64_t longer(int64_t ns) { return ns >= LONGEST * rate ? LONGEST : (int64_t)(ns / rate); }

static spec longer_spec(const spec *t) { return as_spec(longer(as_ns(t))); }

static int longer_ms(int ms) {
  double wait = ms / rate;
  return ms <= 0 ? ms : wait > 2e9 ? 2000000000 : (int)(wait + 0.999);
}

/* The true moment of a clock at which it tells this one. */
static spec true_moment(clockid_t clock, const spec *moment) {
  spec now;
  int64_t left = as_ns(moment) - told(clock);
  true_time(clock, &now);
  return as_spec(as_ns(&now) + (left > 0 ? longer(left) : left));
}

/* A condition variable keeps its clock to itself. */
static clockid_t clock_of(const spec *moment) {
  return moment->tv_sec < FIRST_WALL ? CLOCK_MONOTONIC : CLOCK_REALTIME;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone) {
  (void)zone;
  *t = as_timeval(told(CLOCK_REALTIME));
  return 0;
}

time_t time(time_t *t) {
  time_t now = told(CLOCK_REALTIME) / SECOND;
  if (t) *t = now;
  return now;
}

int clock_nanosleep(clockid_t clock, int flags, const spec *t, spec *left) {
  REAL(int, clock_nanosleep, (clockid_t, int, const spec *, spec *), "");
  if (!runs_with_time(clock)) return real(clock, flags, t, left);
  if (flags & TIMER_ABSTIME) {
    spec moment = true_moment(clock, t);
    return real(clock, flags, &moment, left);
  }
  spec wait = longer_spec(t);
  int failed = real(clock, flags, &wait, left);
  if (failed == EINTR && left) *left = as_spec((int64_t)(as_ns(left) * rate));
  return failed;
}

int nanosleep(const spec *t, spec *left) {
  errno = clock_nanosleep(CLOCK_MONOTONIC, 0, t, left);
  return errno ? -1 : 0;
}

int usleep(useconds_t us) {
  spec wait = as_spec(us * INT64_C(1000));
  return nanosleep(&wait, NULL);
}

unsigned int sleep(unsigned int seconds) {
  spec wait = {seconds, 0}, left = {0, 0};
  return nanosleep(&wait, &left) ? left.tv_sec + 1 : 0;
}

int poll(struct pollfd *files, nfds_t n, int ms) {
  REAL(int, poll, (struct pollfd *, nfds_t, int), "");
  return real(files, n, longer_ms(ms));
}

int ppoll(struct pollfd *files, nfds_t n, const spec *t, const sigset_t *mask) {
  REAL(int, ppoll, (struct pollfd *, nfds_t, const spec *, const sigset_t *), "");
  spec wait = t ? longer_spec(t) : (spec){0, 0};
  return real(files, n, t ? &wait : NULL, mask);
}

int pselect(int n, fd_set *r, fd_set *w, fd_set *x, const spec *t, const sigset_t *mask) {
  REAL(int, pselect, (int, fd_set *, fd_set *, fd_set *, const spec *, const sigset_t *), "");
  spec wait = t ? longer_spec(t) : (spec){0, 0};
  return real(n, r, w, x, t ? &wait : NULL, mask);
}

int select(int n, fd_set *r, fd_set *w, fd_set *x, struct timeval *t) {
  spec wait = t ? of_timeval(*t) : (spec){0, 0};
  return pselect(n, r, w, x, t ? &wait : NULL, NULL);
}

int epoll_wait(int file, struct epoll_event *events, int n, int ms) {
  REAL(int, epoll_wait, (int, struct epoll_event *, int, int), "");
  return real(file, events, n, longer_ms(ms));
}

int epoll_pwait(int file, struct epoll_event *events, int n, int ms, const sigset_t *mask) {
  REAL(int, epoll_pwait, (int, struct epoll_event *, int, int, const sigset_t *), "");
  return real(file, events, n, longer_ms(ms), mask);
}

int sem_clockwait(sem_t *sem, clockid_t clock, const spec *t) {
  REAL(int, sem_clockwait, (sem_t *, clockid_t, const spec *), "");
  spec moment = true_moment(clock, t);
  return real(sem, clock, &moment);
}

int sem_timedwait(sem_t *sem, const spec *t) { return sem_clockwait(sem, CLOCK_REALTIME, t); }

int pthread_cond_timedwait(pthread_cond_t *cond, pthread_mutex_t *mutex, const spec *t) {
  REAL(int, pthread_cond_timedwait, (pthread_cond_t *, pthread_mutex_t *, const spec *),
       "GLIBC_2.3.2");
  spec moment = true_moment(clock_of(t), t);
  return real(cond, mutex, &moment);
}

int pthread_cond_clockwait(pthread_cond_t *cond, pthread_mutex_t *mutex, clockid_t clock,
                           const spec *t) {
  REAL(int, pthread_cond_clockwait,
       (pthread_cond_t *, pthread_mutex_t *, clockid_t, const spec *), "");
  spec moment = true_moment(clock, t);
  return real(cond, mutex, clock, &moment);
}

int pthread_mutex_clocklock(pthread_mutex_t *mutex, clockid_t clock, const spec *t) {
  REAL(int, pthread_mutex_clocklock, (pthread_mutex_t *, clockid_t, const spec *), "");
  spec moment = true_moment(clock, t);
  return real(mutex, clock, &moment);
}

int pthread_mutex_timedlock(pthread_mutex_t *mutex, const spec *t) {
  return pthread_mutex_clocklock(mutex, CLOCK_REALTIME, t);
}

int sigtimedwait(const sigset_t *set, siginfo_t *info, const spec *t) {
  REAL(int, sigtimedwait, (const sigset_t *, siginfo_t *, const spec *), "");
  spec wait = t ? longer_spec(t) : (spec){0, 0};
  return real(set, info, t ? &wait : NULL);
}

int timerfd_settime(int file, int flags, const struct itimerspec *t, struct itimerspec *old) {
  REAL(int, timerfd_settime, (int, int, const struct itimerspec *, struct itimerspec *), "");
  struct itimerspec wait = {longer_spec(&t->it_interval), longer_spec(&t->it_value)};
  if (flags & TFD_TIMER_ABSTIME && as_ns(&t->it_value))
    wait.it_value = true_moment(clock_of(&t->it_value), &t->it_value);
  return real(file, flags, &wait, old);
}

static void scale(struct timeval *t, double factor) {
  spec before = of_timeval(*t);
  double ns = as_ns(&before) * factor;
  *t = as_timeval(ns < LONGEST ? (int64_t)ns : LONGEST);
}

int setitimer(__itimer_which_t which, const struct itimerval *restrict t,
              struct itimerval *restrict old) {
  REAL(int, setitimer, (__itimer_which_t, const struct itimerval *, struct itimerval *), "");
  if (which != ITIMER_REAL) return real(which, t, old); /* the others count what was computed */
  struct itimerval wait = *t;
  scale(&wait.it_interval, 1.0 / rate), scale(&wait.it_value, 1.0 / rate);
  int failed = real(which, &wait, old);
  if (!failed && old) scale(&old->it_interval, rate), scale(&old->it_value, rate);
  return failed;
}

unsigned int alarm(unsigned int seconds) {
  struct itimerval wait = {{0, 0}, {seconds, 0}}, old = {{0, 0}, {0, 0}};
  setitimer(ITIMER_REAL, &wait, &old);
  return old.it_value.tv_sec + (old.it_value.tv_usec > 0);
}

/* Libraries that wait at the kernel's own lock call it so. */
long syscall(long number, ...) {
  long a[6];
  va_list list;
  va_start(list, number);
  for (int i = 0; i < 6; i++) a[i] = va_arg(list, long);
  va_end(list);
  REAL(long, syscall, (long, ...), "");
  if (number == SYS_clock_gettime) return clock_gettime((clockid_t)a[0], (spec *)a[1]);
  spec moment;
  if (number == SYS_futex && a[3]) {
    int command = (int)a[1] & FUTEX_CMD_MASK;
    clockid_t clock = a[1] & FUTEX_CLOCK_REALTIME ? CLOCK_REALTIME : CLOCK_MONOTONIC;
    if (command == FUTEX_WAIT) {
      moment = longer_spec((spec *)a[3]);
      a[3] = (long)&moment;
    } else if (command == FUTEX_WAIT_BITSET) {
      moment = true_moment(clock, (spec *)a[3]);
      a[3] = (long)&moment;
    }
  }
  return real(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}
