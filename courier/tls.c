// SPDX-License-Identifier: ISC
// OpenSSL, as far as a courier needs it.
#include "courier/tls.h"

#include "core/check.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PEM_BYTES_MAX (64u * 1024u)

struct tls_context {
    SSL_CTX *ssl;
};

struct tls {
    SSL *ssl;
    const struct system_courier *courier; // NULL: the other side is a broker
    char host[128];                       // that it must be
    char why[200];
};

// A BIO over the file's bytes in `bytes`, or NULL.
static BIO *pem_open(int fd, uint8_t bytes[PEM_BYTES_MAX])
{
    size_t used = 0;
    ssize_t got;
    while (used < PEM_BYTES_MAX && (got = read(fd, bytes + used, PEM_BYTES_MAX - used)) > 0)
        used += (size_t)got;
    close(fd);
    return BIO_new_mem_buf(bytes, (int)used);
}

static int use_certificate(SSL_CTX *ssl, BIO *pem)
{
    X509 *own = PEM_read_bio_X509(pem, NULL, NULL, NULL), *link;
    if (own == NULL || SSL_CTX_use_certificate(ssl, own) != 1) {
        X509_free(own);
        return 0;
    }
    X509_free(own);
    while ((link = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL) // what leads from it to the authority
        if (SSL_CTX_add0_chain_cert(ssl, link) != 1) {
            X509_free(link);
            return 0;
        }
    ERR_clear_error();
    return 1;
}

// Never asks for a pass phrase: there is nobody to answer.
static int no_phrase(char *phrase, int size, int is_writing, void *context)
{
    (void)phrase, (void)size, (void)is_writing, (void)context;
    return -1;
}

static int use_key(SSL_CTX *ssl, BIO *pem)
{
    EVP_PKEY *key = PEM_read_bio_PrivateKey(pem, NULL, no_phrase, NULL);
    int is_used = key != NULL && SSL_CTX_use_PrivateKey(ssl, key) == 1;
    EVP_PKEY_free(key);
    return is_used;
}

static int use_authority(SSL_CTX *ssl, BIO *pem)
{
    int count = 0;
    X509 *authority;
    while ((authority = PEM_read_bio_X509(pem, NULL, NULL, NULL)) != NULL) {
        count += X509_STORE_add_cert(SSL_CTX_get_cert_store(ssl), authority) == 1;
        X509_free(authority);
    }
    ERR_clear_error();
    return count != 0;
}

// The file is closed, and no byte of it left behind.
static int use_file(SSL_CTX *ssl, int fd, int (*use)(SSL_CTX *, BIO *))
{
    static uint8_t bytes[PEM_BYTES_MAX];
    BIO *pem = pem_open(fd, bytes);
    int is_used = pem != NULL && use(ssl, pem);
    BIO_free(pem);
    OPENSSL_cleanse(bytes, sizeof bytes);
    return is_used;
}

static const char *use_files(SSL_CTX *ssl, const int fds[3])
{
    static int (*const uses[3])(SSL_CTX *, BIO *) = {use_certificate, use_key, use_authority};
    static const char *const whys[3] = {
        "the certificate file holds no certificate in PEM",
        "the key file holds no private key in PEM without a pass phrase, or not that of the certificate",
        "the authority file holds no certificate in PEM",
    };
    const char *why = NULL;
    for (int i = 0; i < 3; i++)
        if (!use_file(ssl, fds[i], uses[i]) && why == NULL)
            why = whys[i];
    return why;
}

// Version 1.3, or from `oldest` on.
static struct tls_context *context_new(const SSL_METHOD *method, int oldest, const char **why)
{
    struct tls_context *context = calloc(1, sizeof *context);
    *why = "no memory";
    if (context == NULL || OPENSSL_init_ssl(OPENSSL_INIT_NO_LOAD_CONFIG, NULL) != 1)
        return NULL;
    SSL_CTX *ssl = context->ssl = SSL_CTX_new(method);
    if (ssl == NULL)
        return NULL;
    *why = "OpenSSL does not speak TLS 1.3 here";
    if (SSL_CTX_set_min_proto_version(ssl, oldest) != 1 || SSL_CTX_set_max_proto_version(ssl, TLS1_3_VERSION) != 1)
        return NULL;
    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    (void)SSL_CTX_set_session_cache_mode(ssl, SSL_SESS_CACHE_OFF);
    (void)SSL_CTX_set_num_tickets(ssl, 0);
    (void)SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION);
    (void)SSL_CTX_set_mode(ssl, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
    *why = NULL;
    return context;
}

struct tls_context *tls_context_new(int certificate_fd, int key_fd, int authority_fd, int is_listening, const char **why)
{
    const int fds[3] = {certificate_fd, key_fd, authority_fd};
    struct tls_context *context = context_new(is_listening ? TLS_server_method() : TLS_client_method(), TLS1_3_VERSION, why);
    if (context != NULL)
        *why = use_files(context->ssl, fds);
    return *why == NULL ? context : NULL;
}

struct tls_context *tls_context_for_broker(int authority_fd, const char **why)
{
    struct tls_context *context = context_new(TLS_client_method(), TLS1_2_VERSION, why);
    if (context != NULL && !use_file(context->ssl, authority_fd, use_authority))
        *why = "the file of broker_authority holds no certificate in PEM";
    return *why == NULL ? context : NULL;
}

static struct tls *connection_new(struct tls_context *context, int fd)
{
    struct tls *tls = calloc(1, sizeof *tls);
    if (tls == NULL)
        return NULL;
    tls->ssl = SSL_new(context->ssl);
    if (tls->ssl == NULL || SSL_set_fd(tls->ssl, fd) != 1) {
        tls_destroy(tls);
        return NULL;
    }
    return tls;
}

struct tls *tls_new(struct tls_context *context, int fd, const struct system_courier *courier)
{
    struct tls *tls = connection_new(context, fd);
    if (tls == NULL)
        return NULL;
    tls->courier = courier;
    if (courier->is_listening) {
        SSL_set_accept_state(tls->ssl);
    } else {
        SSL_set_connect_state(tls->ssl);
        (void)SSL_set_tlsext_host_name(tls->ssl, courier->peers[0].name);
    }
    return tls;
}

struct tls *tls_new_for_broker(struct tls_context *context, int fd, const char *address)
{
    struct tls *tls = connection_new(context, fd);
    if (tls == NULL)
        return NULL;
    int is_bracketed = address[0] == '[';
    snprintf(tls->host, sizeof tls->host, "%.*s", (int)(strrchr(address, ':') - address) - 2 * is_bracketed, address + is_bracketed);
    SSL_set_connect_state(tls->ssl);
    SSL_set_hostflags(tls->ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
    if (X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls->ssl), tls->host) != 1 &&
        (SSL_set1_host(tls->ssl, tls->host) != 1 || SSL_set_tlsext_host_name(tls->ssl, tls->host) != 1)) {
        tls_destroy(tls);
        return NULL;
    }
    return tls;
}

void tls_destroy(struct tls *tls)
{
    SSL_free(tls->ssl);
    free(tls);
}

// Who is there, by a name in its certificate; the courier's peer_count: nobody that it knows.
static uint16_t peer_of(const struct tls *tls, X509 *certificate)
{
    uint16_t i = 0;
    while (i < tls->courier->peer_count &&
           X509_check_host(certificate, tls->courier->peers[i].name, 0, X509_CHECK_FLAG_NO_WILDCARDS, NULL) != 1)
        i++;
    return i;
}

static void name_of(X509 *certificate, char *text, size_t capacity)
{
    char name[64] = "";
    (void)X509_NAME_get_text_by_NID(X509_get_subject_name(certificate), NID_commonName, name, sizeof name);
    for (char *c = name; *c != 0; c++)
        if (*c < 0x20 || *c > 0x7e)
            *c = '?';
    snprintf(text, capacity, "%s", name);
}

// What OpenSSL says about the last failure.
static enum status failed(struct tls *tls, int result)
{
    unsigned long code = ERR_peek_last_error();
    long verdict = SSL_get_verify_result(tls->ssl);
    const char *reason = code != 0 ? ERR_reason_error_string(code) : NULL;
    int is_broker = tls->courier == NULL;
    const char *side = is_broker ? "the broker" : "the other side";
    int is_closed = result == SSL_ERROR_ZERO_RETURN || code == 0 || ERR_GET_REASON(code) == SSL_R_UNEXPECTED_EOF_WHILE_READING;
    if (verdict == X509_V_ERR_HOSTNAME_MISMATCH || verdict == X509_V_ERR_IP_ADDRESS_MISMATCH)
        snprintf(tls->why, sizeof tls->why, "the broker's certificate is not of '%s'", tls->host);
    else if (verdict != X509_V_OK)
        snprintf(tls->why, sizeof tls->why, "%s is refused: %s", is_broker ? "by broker_authority the broker's certificate" : "the peer's certificate",
                 X509_verify_cert_error_string(verdict));
    else if (ERR_GET_LIB(code) == ERR_LIB_SSL && ERR_GET_REASON(code) > SSL_AD_REASON_OFFSET && reason != NULL && strstr(reason, " alert ") != NULL)
        snprintf(tls->why, sizeof tls->why, "%s refuses: %s; its log says more", side, strstr(reason, " alert ") + strlen(" alert "));
    else if (is_broker && !SSL_is_init_finished(tls->ssl))
        snprintf(tls->why, sizeof tls->why, "no TLS with the broker (%s): has it TLS 1.2 or newer at that port?",
                 is_closed || reason == NULL ? "it closed the connection" : reason);
    else if (is_closed)
        snprintf(tls->why, sizeof tls->why, "%s closed the connection", side);
    else
        snprintf(tls->why, sizeof tls->why, "TLS: %s", reason != NULL ? reason : "it failed");
    ERR_clear_error();
    return STATUS_CLOSED;
}

enum status tls_handshake(struct tls *tls, uint16_t *peer, int *wants_write)
{
    ERR_clear_error();
    int result = SSL_do_handshake(tls->ssl);
    if (result != 1) {
        int error = SSL_get_error(tls->ssl, result);
        *wants_write = error == SSL_ERROR_WANT_WRITE;
        return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? STATUS_AGAIN : failed(tls, error);
    }
    X509 *certificate = SSL_get1_peer_certificate(tls->ssl);
    check(certificate != NULL && SSL_get_verify_result(tls->ssl) == X509_V_OK);
    if (tls->courier == NULL) { // OpenSSL has compared the name
        X509_free(certificate);
        *peer = 0;
        return STATUS_OK;
    }
    check(SSL_version(tls->ssl) == TLS1_3_VERSION);
    uint16_t found = peer_of(tls, certificate);
    if (found == tls->courier->peer_count) {
        char name[64];
        name_of(certificate, name, sizeof name);
        snprintf(tls->why, sizeof tls->why, "the peer's certificate is of '%s', not of %s%.40s%s", name,
                 found > 1 ? "one of the peers (" : "'", tls->courier->peers[0].name, found > 1 ? ", ..)" : "'");
    }
    X509_free(certificate);
    if (found == tls->courier->peer_count)
        return STATUS_DENIED;
    *peer = found;
    return STATUS_OK;
}

static enum status outcome(struct tls *tls, int result)
{
    if (result == 1)
        return STATUS_OK;
    int error = SSL_get_error(tls->ssl, result);
    return error == SSL_ERROR_WANT_WRITE || error == SSL_ERROR_WANT_READ ? STATUS_AGAIN : failed(tls, error);
}

enum status tls_read(struct tls *tls, uint8_t *bytes, size_t capacity, size_t *done)
{
    ERR_clear_error();
    return outcome(tls, SSL_read_ex(tls->ssl, bytes, capacity, done));
}

enum status tls_write(struct tls *tls, const uint8_t *bytes, size_t size, size_t *done)
{
    ERR_clear_error();
    return outcome(tls, SSL_write_ex(tls->ssl, bytes, size, done));
}

int tls_has_more(const struct tls *tls) { return SSL_pending(tls->ssl) > 0; }

const char *tls_why(const struct tls *tls) { return tls->why; }
