/* The floor of crypto.floor: AES-256-GCM by OpenSSL's EVP interface and nothing else. Prototypes are written out, so that no header is
   needed beside the library. */
typedef struct evp_cipher_ctx_st Context;
typedef struct evp_cipher_st Cipher;
extern Context *EVP_CIPHER_CTX_new(void);
extern void EVP_CIPHER_CTX_free(Context *);
extern const Cipher *EVP_aes_256_gcm(void);
extern int EVP_DecryptInit_ex(Context *, const Cipher *, void *, const unsigned char *, const unsigned char *);
extern int EVP_DecryptUpdate(Context *, unsigned char *, int *, const unsigned char *, int);
extern int EVP_DecryptFinal_ex(Context *, unsigned char *, int *);
extern int EVP_CIPHER_CTX_ctrl(Context *, int, int, void *);
enum { NONCE = 12, TAG = 16, KEY = 32, SET_TAG = 0x11 };

/* Opens `count` messages, `each` under a key; a message is nonce | ciphertext of `size` bytes | tag, its AAD `aad_size` bytes. Texts go
   to `out`, one after the other. Gives how many verified. */
int open_all(int count, int each, int size, int aad_size, const unsigned char *keys, const unsigned char *aads,
             unsigned char *messages, unsigned char *out) {
    Context *context = EVP_CIPHER_CTX_new();
    int opened = 0, length;
    EVP_DecryptInit_ex(context, EVP_aes_256_gcm(), 0, 0, 0);
    for (int n = 0; n < count; n++) {
        unsigned char *message = messages + (long)n * (NONCE + size + TAG);
        EVP_DecryptInit_ex(context, 0, 0, n % each ? 0 : keys + n / each * KEY, message);
        EVP_DecryptUpdate(context, 0, &length, aads + (long)n * aad_size, aad_size);
        EVP_DecryptUpdate(context, out + (long)n * size, &length, message + NONCE, size);
        EVP_CIPHER_CTX_ctrl(context, SET_TAG, TAG, message + NONCE + size);
        opened += EVP_DecryptFinal_ex(context, out + (long)n * size + length, &length) == 1;
    }
    EVP_CIPHER_CTX_free(context);
    return opened;
}
