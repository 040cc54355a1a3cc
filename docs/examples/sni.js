const OURS = new Set(['mail.example.com', 'imap.example.com']);

when('CLIENTSSL_CLIENTHELLO', () => {
  if (OURS.has(SSL.sni.name())) return; // TLS ends here
  SSL.disable(); // TLS ends at the server: the ClientHello goes on as it came
  pool('others');
});
