"""A stand-in for the cloud's KMS: moto's server, and the two calls that the demonstration needs.

kms.py serve PORTFILE          serve on a free port of 127.0.0.1, write its address to PORTFILE, until killed
kms.py create-key              print the id of a new key                         ($KMS_ENDPOINT)
kms.py encrypt KEY < PLAIN     the KMS's ciphertext, bytes
kms.py decrypt < CIPHERTEXT    the plaintext, bytes
"""
import os
import signal
import sys


def client():
    import boto3
    return boto3.client("kms", region_name="eu-central-1", endpoint_url=os.environ["KMS_ENDPOINT"],
                        aws_access_key_id="demonstration", aws_secret_access_key="demonstration")


def serve(portfile):
    from moto.server import ThreadedMotoServer
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with open(portfile + ".new", "w") as file:
        file.write(f"http://{host}:{port}")
    os.rename(portfile + ".new", portfile)
    signal.sigwait({signal.SIGTERM, signal.SIGINT})
    server.stop()


def main():
    command, arguments = sys.argv[1], sys.argv[2:]
    if command == "serve":
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGINT})
        serve(*arguments)
    elif command == "create-key":
        print(client().create_key()["KeyMetadata"]["KeyId"])
    elif command == "encrypt":
        answer = client().encrypt(KeyId=arguments[0], Plaintext=sys.stdin.buffer.read())
        sys.stdout.buffer.write(answer["CiphertextBlob"])
    elif command == "decrypt":
        answer = client().decrypt(CiphertextBlob=sys.stdin.buffer.read())
        sys.stdout.buffer.write(answer["Plaintext"])
    else:
        sys.exit(__doc__)


main()
