// The load generator's side of TLS. Every proxy gets the same cryptography to do: one version, X25519
// and AES-128-GCM. The certificate, P-256, is the proxy's.
#ifndef LOAD_TLS_H
#define LOAD_TLS_H

#include <openssl/err.h>
#include <openssl/ssl.h>

static struct {
  SSL_CTX *context;
  int keeps;    // sessions are kept, to be resumed
  int resumes;  // from now on a handshake that is not a resumption has failed
} tls;

static void prepare_tls(int version, int keeps) {
  tls.context = SSL_CTX_new(TLS_client_method());
  SSL_CTX_set_min_proto_version(tls.context, version);
  SSL_CTX_set_max_proto_version(tls.context, version);
  SSL_CTX_set_ciphersuites(tls.context, "TLS_AES_128_GCM_SHA256");
  SSL_CTX_set_cipher_list(tls.context, "ECDHE-ECDSA-AES128-GCM-SHA256");
  // TLS 1.2 needs P-256 for the certificate. That no keys are exchanged with it, `wrong_with` checks.
  SSL_CTX_set1_groups_list(tls.context, "X25519:P-256");
  SSL_CTX_set_session_cache_mode(tls.context, SSL_SESS_CACHE_OFF);
  SSL_CTX_set_verify(tls.context, SSL_VERIFY_NONE, NULL);  // it was made a moment ago
  tls.keeps = keeps;
}

static SSL *begin_tls(int fd, SSL_SESSION *session) {
  SSL *ssl = SSL_new(tls.context);
  SSL_set_fd(ssl, fd);
  if (session) SSL_set_session(ssl, session);
  return ssl;
}

// Keeps the newest session: with TLS 1.3 each connection brings tickets, which are good for one use.
static void end_tls(SSL *ssl, SSL_SESSION **kept) {
  SSL_shutdown(ssl);
  if (tls.keeps) {
    SSL_SESSION *session = SSL_get1_session(ssl);
    if (session && SSL_SESSION_is_resumable(session)) {
      SSL_SESSION_free(*kept);
      *kept = session;
    } else {
      SSL_SESSION_free(session);
    }
  }
  SSL_free(ssl);
  ERR_clear_error();  // or the next connection would find this one's errors
}

// What is wrong with a handshake that has succeeded; NULL: nothing.
static const char *wrong_with(SSL *ssl) {
  if (SSL_get_negotiated_group(ssl) != NID_X25519) return "the key exchange was not X25519";
  return tls.resumes && !SSL_session_reused(ssl) ? "the session was not resumed" : NULL;
}

static int tls_waits(SSL *ssl, int result) {
  int error = SSL_get_error(ssl, result);
  return error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE;
}

#endif
