import java.util.List;
import java.util.concurrent.TimeUnit;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManager;
import okhttp3.CertificatePinner;
import okhttp3.ConnectionSpec;
import okhttp3.OkHttpClient;
import okhttp3.Request;
import okhttp3.Response;

/** OkHttp with its CertificatePinner, which looks at the key after the handshake. */
public final class OkHttpClientProgram {
    public static void main(String[] arguments) throws Exception {
        Setting setting = new Setting(arguments);
        SSLContext context = SSLContext.getInstance("TLS");
        context.init(setting.keys, new TrustManager[] {setting.trust}, null);
        OkHttpClient.Builder builder = new OkHttpClient.Builder()
                .sslSocketFactory(context.getSocketFactory(), setting.trust)
                .connectTimeout(20, TimeUnit.SECONDS)
                .readTimeout(20, TimeUnit.SECONDS);
        if (setting.versions != null) {
            builder.connectionSpecs(List.of(new ConnectionSpec.Builder(ConnectionSpec.MODERN_TLS)
                    .tlsVersions(setting.versions).build()));
        }
        if (setting.pin != null) {
            builder.certificatePinner(new CertificatePinner.Builder()
                    .add(setting.host, "sha256/" + setting.pin).build());
        }
        OkHttpClient client = builder.build();
        try {
            for (int time = 0; time < setting.times; time++) {
                try (Response response = client.newCall(new Request.Builder().url(setting.url()).build()).execute()) {
                    response.body().bytes();
                    Setting.needSuccess(response.code());
                }
                // Keeps sessions, not connections.
                client.connectionPool().evictAll();
            }
        } catch (java.io.IOException error) {
            Setting.fail(error);
        }
        // Its threads would keep the program alive for a minute.
        System.exit(0);
    }
}
