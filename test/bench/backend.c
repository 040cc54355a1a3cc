// The servers behind the proxies, cheap enough never to be the limit: one thread, no parsing beyond lines.
//   backend echo      sends back what it gets
//   backend source    sends bytes for as long as the connection takes them
//   backend pop3      answers every POP3 command with success
// Prints the port that it listens on, and serves until its parent ends.
#define _GNU_SOURCE
#include "sockets.h"

enum kind { ECHO, SOURCE, POP3 };

#define LINE_ROOM 1024

struct conn {
  int fd;
  size_t held;
  char input[LINE_ROOM];
};

static int transmit(int fd, const char *data, size_t length) {
  // The messages are small next to the socket's buffer; a peer that does not read them is cut off.
  return send(fd, data, length, MSG_NOSIGNAL) == (ssize_t)length ? 0 : -1;
}

static int echo(struct conn *c) {
  ssize_t got = recv(c->fd, chunk, CHUNK, 0);
  if (got < 0 && errno == EAGAIN) return 0;
  return got > 0 ? transmit(c->fd, chunk, (size_t)got) : -1;
}

static int source(struct conn *c, uint32_t events) {
  if (events & EPOLLIN) {
    ssize_t got = recv(c->fd, c->input, LINE_ROOM, 0);
    if (got == 0 || (got < 0 && errno != EAGAIN)) return -1;
  }
  if (send(c->fd, chunk, CHUNK, MSG_NOSIGNAL) < 0 && errno != EAGAIN) return -1;
  return 0;
}

static const char *pop3_answer(const char *line) {
  if (!strncasecmp(line, "CAPA", 4)) return "+OK\r\nTOP\r\nUSER\r\nUIDL\r\n.\r\n";
  return "+OK\r\n";
}

static int pop3(struct conn *c) {
  ssize_t got = recv(c->fd, c->input + c->held, LINE_ROOM - c->held, 0);
  if (got < 0 && errno == EAGAIN) return 0;
  if (got <= 0) return -1;
  c->held += (size_t)got;
  char *line = c->input, *end = c->input + c->held, *feed;
  while ((feed = memchr(line, '\n', (size_t)(end - line)))) {
    const char *answer = pop3_answer(line);
    if (transmit(c->fd, answer, strlen(answer))) return -1;
    if (!strncasecmp(line, "QUIT", 4)) return -1;
    line = feed + 1;
  }
  c->held = (size_t)(end - line);
  memmove(c->input, line, c->held);
  return c->held < LINE_ROOM ? 0 : -1;
}

static void accept_all(int epoll, int listener, enum kind kind) {
  int fd;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    struct conn *c = calloc(1, sizeof *c);
    if (!c) fail("calloc");
    c->fd = fd;
    no_delay(fd);
    watch(epoll, fd, kind == SOURCE ? EPOLLIN | EPOLLOUT : EPOLLIN, c);
    if (kind == POP3) transmit(fd, "+OK ready\r\n", 11);
  }
}

static int serve(struct conn *c, enum kind kind, uint32_t events) {
  if (kind == ECHO) return echo(c);
  if (kind == SOURCE) return source(c, events);
  return pop3(c);
}

int main(int argc, char **argv) {
  end_with_parent();
  const char *name = argc > 1 ? argv[1] : "";
  enum kind kind = !strcmp(name, "source") ? SOURCE : !strcmp(name, "pop3") ? POP3 : ECHO;
  int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = loopback(1, 0);
  socklen_t size = sizeof address;
  if (bind(listener, (void *)&address, size) || listen(listener, 4096)) fail("listen");
  if (getsockname(listener, (void *)&address, &size)) fail("getsockname");
  int epoll = epoll_create1(0);
  watch(epoll, listener, EPOLLIN, NULL);
  printf("%d\n", ntohs(address.sin_port));
  fflush(stdout);
  struct epoll_event events[MAX_EVENTS];
  for (;;) {
    int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
    for (int i = 0; i < count; i++) {
      struct conn *c = events[i].data.ptr;
      if (!c) {
        accept_all(epoll, listener, kind);
      } else if (serve(c, kind, events[i].events)) {
        close(c->fd);
        free(c);
      }
    }
  }
}
