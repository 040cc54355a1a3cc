// The load generator: one thread, epoll, loopback only.
//   load sessions PORT CONNS SECONDS echo|pop3       connect, converse, close; again and again
//   load exchange PORT CONNS SECONDS LINE ANSWER     one line and its answer, on held connections
//   load idle     PORT CONNS                         the same once, then silence until stdin ends
//   load bulk     PORT CONNS SECONDS                 reads all that comes
// Prints `ready`, starts to count at the first byte on stdin, and prints one JSON object at the end.
#define _GNU_SOURCE
#include "sockets.h"

#include <openssl/err.h>
#include <openssl/ssl.h>

enum action { SEND, LINE, LIST, TLS, END };

// LINE: an answer that starts with `text`. LIST: a POP3 list (ended by a dot) that contains `text`.
struct step {
  enum action action;
  const char *text;
};

static const struct step echo_session[] = {{SEND, "hello\r\n"}, {LINE, "hello\r\n"}, {END, ""}};
static const struct step pop3_session[] = {
    {LINE, "+OK"},          {SEND, "CAPA\r\n"},       {LIST, "\r\nSTLS\r\n"}, {SEND, "STLS\r\n"},
    {LINE, "+OK"},          {TLS, ""},                {SEND, "USER alice\r\n"}, {LINE, "+OK"},
    {SEND, "PASS secret\r\n"}, {LINE, "+OK"},         {SEND, "QUIT\r\n"},     {LINE, "+OK"},
    {END, ""}};

#define ROOM 2048
#define WARM_UP 0.3  // seconds of bulk before it counts
#define GRACE 5.0    // seconds that what was begun in time may take to end

struct conn {
  int fd;
  const struct step *step;
  SSL *ssl;
  size_t held;
  char input[ROOM];
};

static struct {
  int epoll, port, live;
  unsigned dialled;
  SSL_CTX *tls;
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
  if (c->ssl) {
    SSL_shutdown(c->ssl);
    SSL_free(c->ssl);
    ERR_clear_error();  // or the next connection would find this one's errors
  }
  close(c->fd);
  c->fd = -1;
  run.live--;
}

static struct conn *open_all(int count, uint32_t events) {
  struct conn *conns = calloc((size_t)count, sizeof *conns);
  if (!conns) fail("calloc");
  for (int i = 0; i < count; i++) {
    open_conn(&conns[i]);
    watch(run.epoll, conns[i].fd, events, &conns[i]);
  }
  return conns;
}

// Every proxy gets the same cryptography to do, and always a full handshake.
static void prepare_tls(void) {
  run.tls = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(run.tls, TLS1_3_VERSION);
  SSL_CTX_set_ciphersuites(run.tls, "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set1_groups_list(run.tls, "X25519");
  SSL_CTX_set_session_cache_mode(run.tls, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(run.tls, SSL_VERIFY_NONE, NULL);  // the certificate was made a moment ago
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

static enum progress tls_waits(struct conn *c, int result, const char *what) {
  int error = SSL_get_error(c->ssl, result);
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE ? WAITS : problem(c, what);
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
    c->ssl = SSL_new(run.tls);
    SSL_set_fd(c->ssl, c->fd);
  }
  int result = SSL_connect(c->ssl);
  return result == 1 ? GOES_ON : tls_waits(c, result, "TLS handshake");
}

// The length of the awaited answer at the start of the input; 0: not there yet, -1: a wrong one.
static ssize_t answer_length(const struct conn *c) {
  const char *text = c->step->text, *end;
  if (c->step->action == LINE) {
    if (!(end = memchr(c->input, '\n', c->held))) return 0;
    size_t wanted = strlen(text), length = (size_t)(end + 1 - c->input);
    return wanted <= length && !memcmp(c->input, text, wanted) ? (ssize_t)length : -1;
  }
  if (!(end = memmem(c->input, c->held, "\r\n.\r\n", 5))) return 0;
  return memmem(c->input, c->held, text, strlen(text)) ? end + 5 - c->input : -1;
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
    ssize_t got = c->ssl ? SSL_read(c->ssl, c->input + c->held, (int)room)
                         : recv(c->fd, c->input + c->held, room, 0);
    if (got <= 0 && c->ssl) return tls_waits(c, (int)got, "cannot read TLS");
    if (got < 0 && (errno == EAGAIN || errno == ENOTCONN)) return WAITS;
    if (got <= 0) return problem(c, "closed");
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

// What is begun before `end` is carried to its end and counted, so units and CPU cover the same work.
static void sessions(int count, double duration) {
  wait_for_go();
  double start = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), now = start;
  open_all(count, CONVERSATION);
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

// Opens the connections and makes one exchange on each.
static struct conn *open_held(int count) {
  struct conn *conns = open_all(count, CONVERSATION);
  struct epoll_event events[MAX_EVENTS];
  double end = seconds(CLOCK_MONOTONIC) + 2 * GRACE;
  for (int open = 0; open < count && seconds(CLOCK_MONOTONIC) < end;) {
    int ready = epoll_wait(run.epoll, events, MAX_EVENTS, 100);
    for (int i = 0; i < ready; i++) {
      struct conn *c = events[i].data.ptr;
      if (c->fd < 0 || c->step->action == END) continue;
      enum progress progress = converse(c);
      if (progress == FAILED) stop_failed(c);
      if (progress != WAITS) open++;
    }
  }
  for (int i = 0; i < count; i++) {
    if (conns[i].fd >= 0 && conns[i].step->action != END) stop_failed(&conns[i]);
  }
  return conns;
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

static void exchange(int count, double duration) {
  struct conn *conns = open_held(count);
  wait_for_go();
  double start = seconds(CLOCK_MONOTONIC), cpu = seconds(CLOCK_PROCESS_CPUTIME_ID), now = start;
  int busy = run.live;
  for (int i = 0; i < count; i++) {
    if (conns[i].fd < 0) continue;
    conns[i].step = run.script;
    busy -= exchange_on(&conns[i], start + duration);
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

static void idle(int count) {
  open_held(count);
  wait_for_go();
  run.done = run.live;
  run.live = 0;
  report(0, 0);
}

static void read_bulk(struct conn *c) {
  ssize_t got = recv(c->fd, chunk, CHUNK, 0);
  if (got > 0) run.done += (double)got;
  if (got == 0 || (got < 0 && errno != EAGAIN)) stop_failed(c);
}

// Reads on while it waits for the go, so that the count starts and ends in the same steady state.
static void bulk(int count, double duration) {
  open_all(count, EPOLLIN);
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

int main(int argc, char **argv) {
  end_with_parent();
  if (argc < 4) return 2;
  const char *load = argv[1];
  run.port = atoi(argv[2]);
  run.epoll = epoll_create1(0);
  int count = atoi(argv[3]);
  double duration = argc > 4 ? atof(argv[4]) : 0;
  alarm((unsigned)(duration + 60));
  const char *line = argc > 6 ? argv[5] : "hello", *answer = argc > 6 ? argv[6] : "hello";
  static char sent[256], expected[256];
  snprintf(sent, sizeof sent, "%s\r\n", line);
  snprintf(expected, sizeof expected, "%s\r\n", answer);
  const struct step exchanged[] = {{SEND, sent}, {LINE, expected}, {END, ""}};
  run.script = exchanged;
  if (!strcmp(load, "sessions")) {
    run.script = argc > 5 && !strcmp(argv[5], "pop3") ? pop3_session : echo_session;
    prepare_tls();
    sessions(count, duration);
  } else if (!strcmp(load, "exchange")) {
    exchange(count, duration);
  } else if (!strcmp(load, "idle")) {
    idle(count);
  } else {
    bulk(count, duration);
  }
  return 0;
}
