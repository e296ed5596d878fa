//! Paths inside images that manifests and Dockerfiles name.

use super::{Project, assert_found, image_suite, manifest_suite};

const FILES: [(&str, &str); 4] = [("run", ""), ("conf/a.yaml", ""), ("conf/b.yaml", ""), ("policy/x.rego", "")];

/// A Deployment of the image; `keys` belong to its container, `pod` to its pod.
fn deployment(pod: &str, keys: &str) -> String {
    format!(
        "apiVersion: apps/v1\nkind: Deployment\nmetadata: {{name: shop}}\nspec:\n  selector: {{matchLabels: {{a: b}}}}\n  \
         template:\n    metadata: {{labels: {{a: b}}}}\n    spec:\n{pod}      containers:\n      - name: shop\n        \
         image: r.example/shop:1\n{keys}"
    )
}

#[test]
fn what_a_dockerfile_names_is_there() {
    for (text, expected) in [
        ("FROM b\nWORKDIR /app\nCOPY run .\nENTRYPOINT [\"/app/run\"]", &[][..]),
        (
            "FROM b\nWORKDIR /app\nCOPY run ./bin/\nCOPY conf/a.yaml ./c/\nENTRYPOINT [\"/app/bin/run\", \"/app/c/a.yaml\"]",
            &[],
        ),
        (
            "FROM b\nWORKDIR /app\nCOPY run ./bin/server\nENTRYPOINT [\"/app/bin/serevr\"]",
            &[
                "Dockerfile:4:1: ENTRYPOINT names /app/bin/serevr, and nothing puts that into the image (did you mean `/app/bin/server`?)",
            ],
        ),
        ("FROM b\nWORKDIR /app\nCOPY run ./server\nCMD [\"./serevr\"]", &["Dockerfile:4:1: CMD names /app/serevr"]),
        ("FROM b\nCOPY run /server\nENTRYPOINT [\"/serevr\"]", &["Dockerfile:3:1: ENTRYPOINT names /serevr"]),
        ("FROM b\nCOPY run /server\nENTRYPOINT /serevr --x", &["Dockerfile:3:1: ENTRYPOINT names /serevr"]),
        ("FROM b\nCOPY run /server\nENTRYPOINT [\"/docker-entrypoint.sh\", \"/server\"]", &[]),
        ("FROM scratch\nCOPY run /server\nENTRYPOINT [\"/bin/tool\"]", &["Dockerfile:3:1: ENTRYPOINT names /bin/tool"]),
        ("FROM b AS m\nRUN make\nFROM b\nCOPY --from=m /out/dist /app\nENTRYPOINT [\"/app/serve\"]", &[]),
        ("FROM b AS m\nRUN make\nFROM b\nCOPY --from=m /out/dist/ /app/\nENTRYPOINT [\"/app/serve\"]", &[]),
        (
            "FROM b AS m\nRUN make\nFROM b\nCOPY --from=m /out/server /app/\nENTRYPOINT [\"/app/serevr\"]",
            &["Dockerfile:5:1: ENTRYPOINT names /app/serevr"],
        ),
        ("FROM b AS m\nCOPY conf /c\nFROM b\nCOPY --from=m /c /app/c\nENV A=/app/c/a.yaml", &[]),
        ("FROM b\nADD r.tar.gz /app/\nENTRYPOINT [\"/app/bin/run\"]", &[]),
        ("FROM b\nADD https://x.example/y /app/\nENV A=/app/y.yaml", &[]),
        ("FROM b\nCOPY /conf /app/conf\nENV A=/app/conf/a.yaml", &[]),
        (
            "FROM b\nCOPY conf /app/conf\nENV A=/app/conf/c.yaml",
            &["Dockerfile:3:1: ENV names /app/conf/c.yaml, and nothing puts that into the image"],
        ),
        ("FROM b\nCOPY conf/*.yaml /etc/shop/\nENV A=/etc/shop/a.yaml", &[]),
        (
            "FROM b\nCOPY conf/*.yaml /etc/shop/\nENV A=/etc/shop/d.yaml",
            &["Dockerfile:3:1: ENV names /etc/shop/d.yaml"],
        ),
        ("FROM b\nCOPY run /opt/shop/bin/run\nENV PATH=/opt/shop/bin:/usr/bin:$PATH", &[]),
        ("FROM b\nCOPY conf /app/conf\nRUN ./generate\nENV A=/app/conf/c.yaml", &[]),
        ("FROM b\nCOPY conf /app/conf\nRUN cp x /app/conf/c.yaml && chmod 1 /app/conf\nENV A=/app/conf/c.yaml", &[]),
        (
            "FROM b\nCOPY conf /app/conf\nRUN apt-get update\nENV A=/app/conf/c.yaml",
            &["Dockerfile:4:1: ENV names /app/conf/c.yaml"],
        ),
        ("FROM b\nCOPY conf /app/conf\nENV LOG=/app/conf/shop.log A=/app/conf HOME=/ B=// C=/.", &[]),
        ("FROM nginx:1\nCOPY conf/a.yaml /etc/nginx/\nENV A=/etc/nginx/mime.yaml", &[]),
        (
            "FROM b\nCOPY <<E /app/note.yaml\nx\nE\nENV A=/app/note.yaml B=/app/nota.yaml",
            &["Dockerfile:5:1: ENV names /app/nota.yaml"],
        ),
    ] {
        let project = Project::new(&FILES);
        project.write("r.tar.gz", "");
        project.write("Dockerfile", text);
        project.write("manifests/suites/s.yaml", &image_suite(""));
        assert_found(text, &project.findings(), expected);
    }
}

#[test]
fn what_is_ignored_is_not_there() {
    let project = Project::new(&FILES);
    project.write("Dockerfile", "FROM b\nCOPY conf /app/conf\nENV A=/app/conf/a.yaml B=/app/conf/b.yaml");
    project.write(".dockerignore", "conf/b.yaml\n");
    project.write("manifests/suites/s.yaml", &image_suite(""));
    assert_found(
        "",
        &project.findings(),
        &["Dockerfile:3:1: ENV names /app/conf/b.yaml, and .dockerignore keeps it out"],
    );
}

#[test]
fn what_a_container_names_is_there() {
    const POLICY: &str = "FROM b\nCOPY policy /app/policy\nCOPY run /app/server\nENTRYPOINT [\"/app/server\"]";
    const MAP: &str = "      volumes: [{name: c, configMap: {name: c}}, {name: d, emptyDir: {}}]\n";
    for (pod, keys, more, expected) in [
        ("", "        args: [\"--base\", \"/\", \"//\", \"/.\", \"a / b\"]\n", "", &[][..]),
        (
            "",
            "        args: [\"--health=/api/v1/health\", \"/shop/api\"]\n        env: [{name: GROUP, value: /cloud/logs/app}]\n",
            "",
            &[],
        ),
        ("", "        args: [--policy=/app/policy/x.rego]\n", "", &[]),
        (
            "",
            "        args: [--policy=/app/policy/y.rego]\n",
            "",
            &[
                "s.yaml:12:16: /app/policy/y.rego is named here, and nothing puts that into the image (/app/policy/ has x.rego)",
            ],
        ),
        ("", "        args: [--policy=/policies/x.rego]\n", "", &["s.yaml:12:16: /policies/x.rego is named here"]),
        ("", "        command: [/app/serevr]\n", "", &["s.yaml:12:19: did you mean `/app/server`?"]),
        ("", "        command: [./server]\n        workingDir: /app\n", "", &[]),
        ("", "        command: [./serevr]\n        workingDir: /app\n", "", &["s.yaml:12:19: /app/serevr"]),
        ("", "        command: [sh, -c, 'cat /app/policy/x.rego']\n", "", &[]),
        (
            MAP,
            "        args: [/app/policy/z.rego]\n        volumeMounts: [{name: d, mountPath: /app/policy}]\n",
            "",
            &[],
        ),
        // A ConfigMap counts for the containers that mount it.
        (
            MAP,
            "        volumeMounts: [{name: c, mountPath: /etc/c}]\n",
            "policy: /app/policy/y.rego",
            &["s.yaml:19:11: /app/policy/y.rego is named here"],
        ),
        (
            MAP,
            "      - name: proxy\n        image: r.example/proxy:3\n        volumeMounts: [{name: c, mountPath: /etc/c}]\n",
            "policy: /app/policy/y.rego",
            &[],
        ),
        (MAP, "        volumeMounts: [{name: c, mountPath: /etc/c}]\n", "conf: \"location /api/v1/ {\\n}\"", &[]),
        (
            MAP,
            "        volumeMounts: [{name: c, mountPath: /etc/c}]\n",
            "conf: |\n    a: b\n    // note\n    p: /app/policy/y.rego",
            &["s.yaml:22:8: /app/policy/y.rego is named here"],
        ),
        (
            MAP,
            "        volumeMounts: [{name: c, mountPath: /etc/c}]\n",
            "conf: \"a: b\n    \\n p: /app/policy/y.rego\"",
            &["s.yaml:20:11: /app/policy/y.rego is named here"],
        ),
    ] {
        let project = Project::new(&FILES);
        let map = format!(
            "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{name: c}}\ndata:\n  {}\n",
            if more.is_empty() { "a: b" } else { more }
        );
        project.write("s.yaml", &(deployment(pod, keys) + &map));
        project.write("Dockerfile", POLICY);
        project.write("manifests/suites/s.yaml", &manifest_suite(&["s"]));
        assert_found(&format!("{keys}{more}"), &project.findings(), expected);
    }
}
