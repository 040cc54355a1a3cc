// The load generator: one thread, epoll, loopback only.
//   load sessions PORT CONNS SECONDS echo|tls|pop3|imap [1.2|1.3 [resumed]]
//                                                    connect, converse, close; again and again
//   load exchange PORT CONNS SECONDS LINE ANSWER     one line and its answer, on held connections
//   load idle     PORT CONNS                         the same once, then silence until stdin ends
//   load bulk     PORT CONNS SECONDS [tls]           reads all that comes
// TLS is 1.3 with a full handshake each time, unless the arguments say otherwise.
// Prints `ready`, starts to count at the first byte on stdin, and prints one JSON object at the end.
#define _GNU_SOURCE
#include "load-tls.h"
#include "sockets.h"

enum action { SEND, LINE, LINES, TLS, END };

// LINE: an answer that starts with `text`. LINES: one whose last line starts with `last`, and that
// contains `text`.
struct step {
  enum action action;
  const char *text, *last;
};

static const struct step tls_only[] = {{TLS}, {END}};
static const struct step echo_session[] = {{SEND, "hello\r\n"}, {LINE, "hello\r\n"}, {END}};
static const struct step tls_session[] = {{TLS}, {SEND, "hello\r\n"}, {LINE, "hello\r\n"}, {END}};
static const struct step pop3_session[] = {
    {LINE, "+OK"},
    {SEND, "CAPA\r\n"},
    {LINES, "\r\nSTLS\r\n", ".\r\n"},
    {SEND, "STLS\r\n"},
    {LINE, "+OK"},
    {TLS},
    {SEND, "USER alice\r\n"},
    {LINE, "+OK"},
    {SEND, "PASS secret\r\n"},
    {LINE, "+OK"},
    {SEND, "QUIT\r\n"},
    {LINE, "+OK"},
    {END}};
static const struct step imap_session[] = {
    {LINE, "* OK"},
    {SEND, "a1 CAPABILITY\r\n"},
    {LINES, " STARTTLS", "a1 OK"},
    {SEND, "a2 STARTTLS\r\n"},
    {LINE, "a2 OK"},
    {TLS},
    {SEND, "a3 CAPABILITY\r\n"},
    {LINES, "* CAPABILITY IMAP4rev1", "a3 OK"},
    {SEND, "a4 LOGIN alice secret\r\n"},
    {LINES, "", "a4 OK"},
    {SEND, "a5 LOGOUT\r\n"},
    {LINES, "* BYE", "a5 OK"},
    {END}};

static const struct {
  const char *name;
  const struct step *steps;
} scripts[] = {
    {"echo", echo_session}, {"tls", tls_session}, {"pop3", pop3_session}, {"imap", imap_session}};

#define ROOM 2048
#define WARM_UP 0.3  // seconds of bulk before it counts
#define GRACE 5.0    // seconds that what was begun in time may take to end

struct conn {
  int fd;
  const struct step *step;
  SSL *ssl;
  SSL_SESSION *session;  // of the connection before
  size_t held;
  char input[ROOM];
};

static struct {
  int epoll, port, count, live;
  unsigned dialled;
  struct conn *conns;
  const struct step *script;
  double done;
  long failed;
  char problem[160];
} run;

// ---- connections

static void open_conn(struct conn *c) {
  c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  if (c->fd < 0) fail("socket");
  // Eight source addresses in turn, so that ports in TIME_WAIT never run out.
  int on = 1;
  setsockopt(c->fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
  struct sockaddr_in from = loopback(2 + run.dialled++ % 8, 0), to = loopback(1, run.port);
  if (bind(c->fd, (void *)&from, sizeof from)) fail("bind");
  if (connect(c->fd, (void *)&to, sizeof to) && errno != EINPROGRESS) fail("connect");
  no_delay(c->fd);
  c->step = run.script;
  c->held = 0;
  c->ssl = NULL;
  run.live++;
}

static void close_conn(struct conn *c) {
  if (c->ssl) end_tls(c->ssl, &c->session);
  close(c->fd);
  c->fd = -1;
  run.live--;
}

static void open_all(uint32_t events) {
  for (int i = 0; i < run.count; i++) {
    open_conn(&run.conns[i]);
    watch(run.epoll, run.conns[i].fd, events, &run.conns[i]);
  }
}

// ---- conversations

enum progress { WAITS, GOES_ON, FAILED };

static enum progress problem(struct conn *c, const char *what) {
  if (!run.failed) {
    int length = (int)(c->held < 60 ? c->held : 60);
    snprintf(run.problem, sizeof run.problem, "step %d: %s; held: %.*s", (int)(c->step - run.script),
             what, length, c->input);
    for (char *p = run.problem; *p; p++) {
      if (*p < ' ' || *p == '"' || *p == '\\' || *p > '~') *p = ' ';
    }
  }
  return FAILED;
}

static enum progress say(struct conn *c) {
  size_t length = strlen(c->step->text);
  ssize_t sent = c->ssl ? SSL_write(c->ssl, c->step->text, (int)length)
                        : send(c->fd, c->step->text, length, MSG_NOSIGNAL);
  if (sent < 0 && !c->ssl && (errno == EAGAIN || errno == ENOTCONN)) return WAITS;
  return sent == (ssize_t)length ? GOES_ON : problem(c, "cannot send");
}

static enum progress shake_hands(struct conn *c) {
  if (!c->ssl) {
    if (c->held) return problem(c, "plaintext before the handshake");
    c->ssl = begin_tls(c->fd, c->session);
  }
  int result = SSL_connect(c->ssl);
  if (result != 1) return tls_waits(c->ssl, result) ? WAITS : problem(c, "TLS handshake");
  const char *wrong = wrong_with(c->ssl);
  return wrong ? problem(c, wrong) : GOES_ON;
}

static int starts_with(const char *line, size_t length, const char *text) {
  size_t wanted = strlen(text);
  return wanted <= length && !memcmp(line, text, wanted);
}

// The length of the awaited answer at the start of the input; 0: not there yet, -1: a wrong one.
static ssize_t answer_length(const struct conn *c) {
  const char *text = c->step->text, *line = c->input, *end = c->input + c->held, *feed;
  while ((feed = memchr(line, '\n', (size_t)(end - line)))) {
    const char *next = feed + 1;
    if (c->step->action == LINE) {
      return starts_with(line, (size_t)(next - line), text) ? next - c->input : -1;
    }
    if (starts_with(line, (size_t)(next - line), c->step->last)) {
      size_t length = (size_t)(next - c->input);
      return memmem(c->input, length, text, strlen(text)) ? (ssize_t)length : -1;
    }
    line = next;
  }
  return 0;
}

// Reads what there is, up to `room` bytes. 0: nothing yet, -1: an error, or the connection's end.
static ssize_t receive(struct conn *c, char *into, size_t room) {
  if (c->ssl) {
    int got = SSL_read(c->ssl, into, (int)room);
    if (got > 0) return got;
    return tls_waits(c->ssl, got) ? 0 : -1;
  }
  ssize_t got = recv(c->fd, into, room, 0);
  if (got > 0) return got;
  return got < 0 && (errno == EAGAIN || errno == ENOTCONN) ? 0 : -1;
}

static enum progress listen_for_answer(struct conn *c) {
  for (;;) {
    ssize_t length = answer_length(c);
    if (length < 0) return problem(c, "wrong answer");
    if (length > 0) {
      c->held -= (size_t)length;
      memmove(c->input, c->input + length, c->held);
      return GOES_ON;
    }
    size_t room = ROOM - c->held;
    if (room == 0) return problem(c, "endless answer");
    ssize_t got = receive(c, c->input + c->held, room);
    if (got == 0) return WAITS;
    if (got < 0) return problem(c, "closed");
    c->held += (size_t)got;
  }
}

// Carries on with the script. GOES_ON: it is done.
static enum progress converse(struct conn *c) {
  for (; c->step->action != END; c->step++) {
    enum progress progress = c->step->action == SEND  ? say(c)
                             : c->step->action == TLS ? shake_hands(c)
                                                      : listen_for_answer(c);
    if (progress != GOES_ON) return progress;
  }
  return GOES_ON;
}

// ---- loads

static void wait_for_go(void) {
  char byte;
  printf("ready\n");
  fflush(stdout);
  if (read(0, &byte, 1) < 0) fail("stdin");
}

static void report(double wall, double cpu) {
  printf("{\"units\":%.0f,\"seconds\":%.4f,\"cpu\":%.3f,\"failed\":%ld,\"problem\":\"%s\"}\n", run.done,
         wall, cpu, run.failed + run.live, run.problem);
}

static void stop_failed(struct conn *c) {
  run.failed++;
  close_conn(c);
}

#define CONVERSATION (EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET)

// Opens the connections and carries the script out once on each.
static void open_held(void) {
  open_all(CONVERSATION);
  struct epoll_event events[MAX_EVENTS];
  double end = seconds(CLOCK_MONOTONIC) + 2 * GRACE;
  for (int open = 0; open < run.count && seconds(CLOCK_MONOTONIC) < end;) {
    int ready = epoll_wait(run.epoll, events, MAX_EVENTS, 100);
    for (int i = 0; i < ready; i++) {
      struct conn *c = events[i].data.ptr;
      if (c->fd < 0 || c->step->action == END) continue;
      enum progress progress = converse(c);
      if (progress == FAILED) stop_failed(c);
      if (progress != WAITS) open++;
    }
  }
  for (int i = 0; i < run.count; i++) {
    struct conn *c = &run.conns[i];
    if (c->fd >= 0 && c->step->action != END) stop_failed(c);
  }
}

// A first session for each connection, which does not count, brings what the others resume.
static void collect_sessions(void) {
  open_held();
  for (int i = 0; i < run.count; i++) {
    if (run.conns[i].fd >= 0) close_conn(&run.conns[i]);
  }
  tls.resumes = 1;
}

// What is begun before `end` is carried to its end and counted, so units and CPU cover the same work.
static void sessions(double duration) {
  if (tls.keeps) collect_sessions();
  wait_for_go();
  double start = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), now = start;
  open_all(CONVERSATION);
  struct epoll_event events[MAX_EVENTS];
  while (run.live && now < start + duration + GRACE) {
    int ready = epoll_wait(run.epoll, events, MAX_EVENTS, 100);
    for (int i = 0; i < ready; i++) {
      struct conn *c = events[i].data.ptr;
      enum progress progress = converse(c);
      if (progress == WAITS) continue;
      if (progress == GOES_ON) run.done++;
      if (progress == FAILED) run.failed++;
      close_conn(c);
      if (seconds(CLOCK_MONOTONIC) >= start + duration) continue;
      open_conn(c);
      watch(run.epoll, c->fd, CONVERSATION, c);
    }
    now = seconds(CLOCK_MONOTONIC);
  }
  report(now - start, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

// One exchange after the other until `last`; true when there is none under way any more.
static int exchange_on(struct conn *c, double last) {
  enum progress progress;
  while ((progress = converse(c)) == GOES_ON) {
    run.done++;
    if (seconds(CLOCK_MONOTONIC) >= last) return 1;
    c->step = run.script;
  }
  if (progress == FAILED) stop_failed(c);
  return progress == FAILED;
}

static void exchange(double duration) {
  open_held();
  wait_for_go();
  double start = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), now = start;
  int busy = run.live;
  for (int i = 0; i < run.count; i++) {
    struct conn *c = &run.conns[i];
    if (c->fd < 0) continue;
    c->step = run.script;
    busy -= exchange_on(c, start + duration);
  }
  struct epoll_event events[MAX_EVENTS];
  while (busy && now < start + duration + GRACE) {
    int ready = epoll_wait(run.epoll, events, MAX_EVENTS, 100);
    for (int i = 0; i < ready; i++) {
      struct conn *c = events[i].data.ptr;
      if (c->fd >= 0 && c->step->action != END) busy -= exchange_on(c, start + duration);
    }
    now = seconds(CLOCK_MONOTONIC);
  }
  run.live = busy;  // what is still under way has failed
  report(now - start, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static void idle(void) {
  open_held();
  wait_for_go();
  run.done = run.live;
  run.live = 0;
  report(0, 0);
}

// TLS hands out one record at a time and reads no further, so epoll knows whether there is more.
static void read_bulk(struct conn *c) {
  ssize_t got = receive(c, chunk, CHUNK);
  if (got > 0) run.done += (double)got;
  if (got < 0) stop_failed(c);
}

static void open_bulk(void) {
  if (run.script != tls_only) {
    open_all(EPOLLIN);
    return;
  }
  open_held();
  for (int i = 0; i < run.count; i++) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = &run.conns[i]};
    int fd = run.conns[i].fd;
    if (fd >= 0 && epoll_ctl(run.epoll, EPOLL_CTL_MOD, fd, &event)) fail("epoll_ctl");
  }
}

// Reads on while it waits for the go, so that the count starts and ends in the same steady state.
static void bulk(double duration) {
  open_bulk();
  double ready_at = seconds(CLOCK_MONOTONIC) + WARM_UP, start = 0, cpu = 0, now;
  struct epoll_event events[MAX_EVENTS];
  while (now = seconds(CLOCK_MONOTONIC), start == 0 || now < start + duration) {
    if (ready_at && now >= ready_at) {
      printf("ready\n");
      fflush(stdout);
      watch(run.epoll, 0, EPOLLIN | EPOLLONESHOT, NULL);
      ready_at = 0;
    }
    int ready = epoll_wait(run.epoll, events, MAX_EVENTS, 50);
    for (int i = 0; i < ready; i++) {
      if (events[i].data.ptr) {
        read_bulk(events[i].data.ptr);
      } else {
        start = seconds(CLOCK_MONOTONIC);
        cpu = seconds(CLOCK_PROCESS_CPUTIME_ID);
        run.done = 0;
      }
    }
  }
  run.live = 0;
  report(now - start, seconds(CLOCK_PROCESS_CPUTIME_ID) - cpu);
}

static const struct step *script_of(const char *name) {
  for (size_t i = 0; i < sizeof scripts / sizeof *scripts; i++) {
    if (!strcmp(scripts[i].name, name)) return scripts[i].steps;
  }
  return NULL;
}

int main(int argc, char **argv) {
  end_with_parent();
  if (argc < 4) return 2;
  const char *load = argv[1], *what = argc > 5 ? argv[5] : "";
  run.port = atoi(argv[2]);
  run.count = atoi(argv[3]);
  run.epoll = epoll_create1(0);
  run.conns = calloc((size_t)run.count, sizeof *run.conns);
  if (!run.conns) fail("calloc");
  double duration = argc > 4 ? atof(argv[4]) : 0;
  alarm((unsigned)(duration + 60));
  if (!strcmp(load, "sessions")) {
    if (!(run.script = script_of(what))) return 2;
    int version = argc > 6 && !strcmp(argv[6], "1.2") ? TLS1_2_VERSION : TLS1_3_VERSION;
    prepare_tls(version, argc > 7 && !strcmp(argv[7], "resumed"));
    sessions(duration);
  } else if (!strcmp(load, "exchange") && argc > 6) {
    static char sent[256], expected[256];
    snprintf(sent, sizeof sent, "%s\r\n", argv[5]);
    snprintf(expected, sizeof expected, "%s\r\n", argv[6]);
    const struct step exchanged[] = {{SEND, sent}, {LINE, expected}, {END}};
    run.script = exchanged;
    exchange(duration);
  } else if (!strcmp(load, "idle")) {
    run.script = echo_session;
    idle();
  } else if (!strcmp(load, "bulk")) {
    if (!strcmp(what, "tls")) {
      run.script = tls_only;
      prepare_tls(TLS1_3_VERSION, 0);
    }
    bulk(duration);
  } else {
    return 2;
  }
  return 0;
}
