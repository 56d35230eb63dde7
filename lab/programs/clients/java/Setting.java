import java.io.FileInputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.KeyStore;
import java.security.PrivateKey;
import java.security.cert.Certificate;
import java.security.cert.CertificateFactory;
import java.security.spec.InvalidKeySpecException;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.net.ssl.KeyManager;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/** What a client of the corpus is asked for; request.sh names the arguments. */
final class Setting {
    final String host;
    final int port;
    final String path;
    /** JSSE's names of the versions; null for its own choice. */
    final String[] versions;
    final X509TrustManager trust;
    /** SHA-256 of the one key to be accepted, base64; null for any. */
    final String pin;
    /** Null without a client certificate. */
    final KeyManager[] keys;
    final int times;

    Setting(String[] arguments) throws Exception {
        host = arguments[0];
        port = Integer.parseInt(arguments[1]);
        path = arguments[2];
        versions = arguments[3].equals("tls12") ? new String[] {"TLSv1.2"}
                : arguments[3].equals("tls13") ? new String[] {"TLSv1.3"} : null;
        trust = trust(arguments[4]);
        pin = arguments[5].equals("-") ? null : arguments[5];
        keys = arguments[7].equals("-") ? null : keys(Path.of(arguments[7]), Path.of(arguments[8]));
        times = Integer.parseInt(arguments[9]);
    }

    String url() {
        return "https://" + host + ":" + port + path;
    }

    /** Prints the innermost reason and ends. */
    static void fail(Throwable error) {
        while (error.getCause() != null) {
            error = error.getCause();
        }
        System.out.println(String.valueOf(error).lines().findFirst().orElse("failed"));
        System.exit(1);
    }

    static void needSuccess(int status) {
        if (status >= 400) {
            System.out.println("answered with HTTP " + status);
            System.exit(1);
        }
    }

    private static X509TrustManager trust(String file) throws Exception {
        KeyStore store = null;
        if (!file.equals("-")) {
            store = empty();
            int count = 0;
            for (Certificate certificate : certificates(Path.of(file))) {
                store.setCertificateEntry("ca" + count++, certificate);
            }
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return (X509TrustManager) factory.getTrustManagers()[0];
    }

    private static KeyManager[] keys(Path certificate, Path key) throws Exception {
        String pem = Files.readString(key, StandardCharsets.US_ASCII);
        byte[] der = Base64.getMimeDecoder().decode(pem.replaceAll("-----[A-Z ]+-----", ""));
        PrivateKey made;
        try {
            made = KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(der));
        } catch (InvalidKeySpecException notRsa) {
            made = KeyFactory.getInstance("EC").generatePrivate(new PKCS8EncodedKeySpec(der));
        }
        KeyStore store = empty();
        store.setKeyEntry("client", made, new char[0], certificates(certificate));
        KeyManagerFactory factory = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
        factory.init(store, new char[0]);
        return factory.getKeyManagers();
    }

    private static KeyStore empty() throws Exception {
        KeyStore store = KeyStore.getInstance(KeyStore.getDefaultType());
        store.load(null);
        return store;
    }

    private static Certificate[] certificates(Path file) throws Exception {
        try (FileInputStream in = new FileInputStream(file.toFile())) {
            return CertificateFactory.getInstance("X.509").generateCertificates(in).toArray(new Certificate[0]);
        }
    }
}
