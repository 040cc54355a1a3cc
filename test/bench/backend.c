// The servers behind the proxies, cheap enough never to be the limit: one thread, no parsing beyond lines.
//   backend echo      sends back what it gets
//   backend source    sends bytes for as long as the connection takes them
//   backend pop3      answers every POP3 command with success
//   backend imap      answers every IMAP command with success, and, on a second port, nginx's
//                     questions in HTTP where a user's mailbox is: here
// Prints the port that it listens on, or both, and serves until its parent ends.
#define _GNU_SOURCE
#include "sockets.h"

enum kind { ECHO, SOURCE, POP3, IMAP, AUTH };

#define LINE_ROOM 1024

struct conn {
  int fd;
  enum kind kind;
  int listens;   // it takes connections of its kind
  char tag[16];  // of the IMAP command that is not complete yet
  size_t held;
  char input[LINE_ROOM];
};

static char mailbox_answer[160];

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

static int transmit_text(int fd, const char *text) {
  return transmit(fd, text, strlen(text));
}

static int pop3(int fd, const char *line) {
  int lists = !strcasecmp(line, "CAPA");
  if (transmit_text(fd, lists ? "+OK\r\nTOP\r\nUSER\r\nUIDL\r\n.\r\n" : "+OK\r\n")) return -1;
  return strcasecmp(line, "QUIT") ? 0 : -1;
}

// A line that ends with a literal's size is no complete command. The literals that come hold no line
// end, so the next line holds the literal and what follows it.
static int imap(struct conn *c, const char *line) {
  char word[16] = "", answer[96];
  if (!*c->tag && sscanf(line, "%15s %15s", c->tag, word) < 2) return -1;
  size_t length = strlen(line);
  if (length && line[length - 1] == '}') return transmit_text(c->fd, "+ go on\r\n");
  int ends = !strcasecmp(word, "LOGOUT");
  const char *data = ends                             ? "* BYE\r\n"
                     : !strcasecmp(word, "CAPABILITY") ? "* CAPABILITY IMAP4rev1\r\n"
                                                      : "";
  snprintf(answer, sizeof answer, "%s%s OK done\r\n", data, c->tag);
  *c->tag = 0;
  return transmit_text(c->fd, answer) || ends ? -1 : 0;
}

// What the request says makes no difference; the empty line ends it.
static int auth(int fd, const char *line) {
  if (*line) return 0;
  transmit_text(fd, mailbox_answer);
  return -1;
}

static int answer_line(struct conn *c, const char *line) {
  if (c->kind == POP3) return pop3(c->fd, line);
  if (c->kind == IMAP) return imap(c, line);
  return auth(c->fd, line);
}

static int answer_lines(struct conn *c) {
  ssize_t got = recv(c->fd, c->input + c->held, LINE_ROOM - c->held, 0);
  if (got < 0 && errno == EAGAIN) return 0;
  if (got <= 0) return -1;
  c->held += (size_t)got;
  char *line = c->input, *end = c->input + c->held, *feed;
  while ((feed = memchr(line, '\n', (size_t)(end - line)))) {
    *(feed > line && feed[-1] == '\r' ? feed - 1 : feed) = 0;
    if (answer_line(c, line)) return -1;
    line = feed + 1;
  }
  c->held = (size_t)(end - line);
  memmove(c->input, line, c->held);
  return c->held < LINE_ROOM ? 0 : -1;
}

static void add_conn(int epoll, int fd, enum kind kind, int listens) {
  struct conn *c = calloc(1, sizeof *c);
  if (!c) fail("calloc");
  c->fd = fd;
  c->kind = kind;
  c->listens = listens;
  watch(epoll, fd, kind == SOURCE && !listens ? EPOLLIN | EPOLLOUT : EPOLLIN, c);
}

static void accept_all(int epoll, const struct conn *listener) {
  int fd;
  while ((fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
    no_delay(fd);
    add_conn(epoll, fd, listener->kind, 0);
    if (listener->kind == POP3) transmit_text(fd, "+OK ready\r\n");
    if (listener->kind == IMAP) transmit_text(fd, "* OK ready\r\n");
  }
}

static int serve(struct conn *c, uint32_t events) {
  if (c->kind == ECHO) return echo(c);
  if (c->kind == SOURCE) return source(c, events);
  return answer_lines(c);
}

static int listen_for(int epoll, enum kind kind) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
  struct sockaddr_in address = loopback(1, 0);
  socklen_t size = sizeof address;
  if (bind(fd, (void *)&address, size) || listen(fd, 4096)) fail("listen");
  if (getsockname(fd, (void *)&address, &size)) fail("getsockname");
  add_conn(epoll, fd, kind, 1);
  return ntohs(address.sin_port);
}

static void open_ports(int epoll, enum kind kind) {
  int port = listen_for(epoll, kind);
  printf("%d", port);
  if (kind == IMAP) {
    printf(" %d", listen_for(epoll, AUTH));
    snprintf(mailbox_answer, sizeof mailbox_answer,
             "HTTP/1.0 200 OK\r\nAuth-Status: OK\r\nAuth-Server: 127.0.0.1\r\nAuth-Port: %d\r\n\r\n",
             port);
  }
  printf("\n");
  fflush(stdout);
}

int main(int argc, char **argv) {
  static const char *const kinds[] = {"echo", "source", "pop3", "imap"};
  end_with_parent();
  enum kind kind = ECHO;
  while (kind < AUTH && strcmp(argc > 1 ? argv[1] : "", kinds[kind])) kind++;
  if (kind == AUTH) return 2;
  int epoll = epoll_create1(0);
  open_ports(epoll, kind);
  struct epoll_event events[MAX_EVENTS];
  for (;;) {
    int count = epoll_wait(epoll, events, MAX_EVENTS, -1);
    for (int i = 0; i < count; i++) {
      struct conn *c = events[i].data.ptr;
      if (c->listens) {
        accept_all(epoll, c);
      } else if (serve(c, events[i].events)) {
        close(c->fd);
        free(c);
      }
    }
  }
}
