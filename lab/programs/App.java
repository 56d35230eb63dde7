import java.io.FileInputStream;
import java.io.IOException;
import java.security.KeyStore;
import java.security.MessageDigest;
import java.security.cert.CertificateException;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.util.Base64;
import java.util.List;
import javax.net.ssl.SNIHostName;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLParameters;
import javax.net.ssl.SSLSocket;
import javax.net.ssl.TrustManager;
import javax.net.ssl.TrustManagerFactory;
import javax.net.ssl.X509TrustManager;

/** An app: App ADDRESS NAME PROTOCOL CA-FILE|- PIN|-  — it trusts the CAs and, if given a pin, only that key. */
public class App {
    public static void main(String[] arguments) throws Exception {
        X509TrustManager trust = trust(arguments[3]);
        String pin = arguments[4];
        X509TrustManager pinning = new X509TrustManager() {
            public void checkClientTrusted(X509Certificate[] chain, String type) {}

            public void checkServerTrusted(X509Certificate[] chain, String type) throws CertificateException {
                trust.checkServerTrusted(chain, type);
                try {
                    byte[] key = MessageDigest.getInstance("SHA-256").digest(chain[0].getPublicKey().getEncoded());
                    if (!pin.equals("-") && !Base64.getEncoder().encodeToString(key).equals(pin)) {
                        throw new CertificateException("the server's key is not the pinned one");
                    }
                } catch (java.security.NoSuchAlgorithmException error) {
                    throw new CertificateException(error);
                }
            }

            public X509Certificate[] getAcceptedIssuers() {
                return trust.getAcceptedIssuers();
            }
        };
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(null, new TrustManager[] {pinning}, null);
        try (SSLSocket socket = (SSLSocket) context.getSocketFactory().createSocket(arguments[0], 443)) {
            SSLParameters parameters = socket.getSSLParameters();
            parameters.setServerNames(List.of(new SNIHostName(arguments[1])));
            socket.setSSLParameters(parameters);
            socket.setEnabledProtocols(new String[] {arguments[2]});
            socket.startHandshake();
            socket.getOutputStream().write("GET / HTTP/1.0\r\n\r\n".getBytes());
            System.out.println("works: " + socket.getInputStream().readNBytes(15).length + " bytes read");
        } catch (IOException error) {
            System.out.println("fails: " + error.getMessage());
        }
    }

    private static X509TrustManager trust(String file) throws Exception {
        KeyStore store = null;
        if (!file.equals("-")) {
            store = KeyStore.getInstance(KeyStore.getDefaultType());
            store.load(null);
            try (FileInputStream in = new FileInputStream(file)) {
                for (var ca : CertificateFactory.getInstance("X.509").generateCertificates(in)) {
                    store.setCertificateEntry("ca" + store.size(), ca);
                }
            }
        }
        TrustManagerFactory factory = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
        factory.init(store);
        return (X509TrustManager) factory.getTrustManagers()[0];
    }
}
