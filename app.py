"""The chat page: streamlit run app.py"""

from rag.page.main import main

main()
