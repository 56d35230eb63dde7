import java.io.InputStream;
import java.net.URL;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.security.cert.CertificateException;
import java.security.cert.X509Certificate;
import java.util.Base64;
import javax.net.ssl.HttpsURLConnection;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509TrustManager;

/** Java's own HttpsURLConnection, with a TrustManager that also looks at the key. */
public final class JsseClient {
    public static void main(String[] arguments) throws Exception {
        Setting setting = new Setting(arguments);
        if (setting.versions != null) {
            System.setProperty("jdk.tls.client.protocols", setting.versions[0]);
        }
        System.setProperty("http.keepAlive", "false");
        SSLContext context = SSLContext.getInstance("TLS");
        TrustManager[] trust = setting.pin == null ? new TrustManager[] {setting.trust}
                : new TrustManager[] {new Pinning(setting.trust, setting.pin)};
        context.init(setting.keys, trust, null);
        try {
            for (int time = 0; time < setting.times; time++) {
                HttpsURLConnection connection = (HttpsURLConnection) new URL(setting.url()).openConnection();
                connection.setSSLSocketFactory(context.getSocketFactory());
                connection.setConnectTimeout(20000);
                connection.setReadTimeout(20000);
                Setting.needSuccess(connection.getResponseCode());
                try (InputStream in = connection.getInputStream()) {
                    in.readAllBytes();
                }
            }
        } catch (java.io.IOException error) {
            Setting.fail(error);
        }
    }

    private static final class Pinning implements X509TrustManager {
        private final X509TrustManager trust;
        private final String pin;

        Pinning(X509TrustManager trust, String pin) {
            this.trust = trust;
            this.pin = pin;
        }

        @Override
        public void checkClientTrusted(X509Certificate[] chain, String type) throws CertificateException {
            trust.checkClientTrusted(chain, type);
        }

        @Override
        public void checkServerTrusted(X509Certificate[] chain, String type) throws CertificateException {
            trust.checkServerTrusted(chain, type);
            try {
                byte[] key = MessageDigest.getInstance("SHA-256").digest(chain[0].getPublicKey().getEncoded());
                if (!Base64.getEncoder().encodeToString(key).equals(pin)) {
                    throw new CertificateException("the server's key is not the pinned one");
                }
            } catch (NoSuchAlgorithmException error) {
                throw new CertificateException(error);
            }
        }

        @Override
        public X509Certificate[] getAcceptedIssuers() {
            return trust.getAcceptedIssuers();
        }
    }
}
